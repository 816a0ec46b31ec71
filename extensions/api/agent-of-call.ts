/**
 * The agent that a model call was made for, worked out when it is asked: instrumentations name agents on the spans
 * around the calls, and those end, and arrive, after them. A call's own name counts; else the nearest span above it in its trace
 * and tenant that names an agent, at most 64 levels up, started at most a day before the time asked for. Where a span of the
 * chain is not stored, or none names an agent, it is ''.
 *
 * One read of the spans and one row per trace, however deep it is. Spans are places in arrays, those that name an agent first;
 * `up` says for each place where to look next, and each round doubles the stride:
 *
 *   place   1 … agents      agents + 1 … ids        none
 *   up      itself          its parent, or none     itself
 *
 * No lambda may use an array from outside: ClickHouse copies it for each element.
 */
export interface AgentOfCall {
  /** Of the rows of `otel_traces`, after FROM: joins the agents of the calls in the time. */
  readonly join: string
  /** Their agent. */
  readonly agent: string
}

const TRACE = 'sipHash64(TenantId, TraceId)'
const SPAN = 'sipHash64(SpanId)'
/** 2^6 levels. */
const ROUNDS = 6

/** `since`: a condition on `Timestamp` of the form `Timestamp >= …`. */
export function agentOfCall(since: string): AgentOfCall {
  return {
    join: `LEFT ANY JOIN (${byCall(since)}) AS above ON ${TRACE} = above.trace AND ${SPAN} = above.span`,
    agent: "if(AgentName != '', AgentName, above.agent)",
  }
}

function byCall(since: string): string {
  const jumped = Array.from({ length: ROUNDS }).reduce<string>(
    (from) => `SELECT trace, agents, spans, calls, none, ${at('up', 'up')} AS up FROM (${from})`,
    firstSteps(since),
  )
  const own = 'arraySlice(up, length(agents) + 1, length(spans))'
  return `SELECT trace, span, agent
FROM (SELECT trace, spans, calls, ${at("arrayResize(agents.2, none, '')", own)} AS names FROM (${jumped}))
ARRAY JOIN spans AS span, calls AS call, names AS agent WHERE call = 1 AND agent != ''`
}

/** Of a span that is stored twice the first place counts. */
function firstSteps(since: string): string {
  return `SELECT trace, agents, spans, calls, none,
  arrayConcat(arrayEnumerate(agents), ${at('places', 'arrayMap(number -> least(number, last), numbers)')}, [none]) AS up
FROM (SELECT trace, agents, spans, calls, arrayConcat(agents.1, spans) AS ids, length(ids) + 1 AS none,
    arrayPushBack(arrayFilter((place, nth) -> nth = 1, arrayEnumerate(ids), arrayEnumerateUniq(ids)), none) AS places,
    length(places) AS last, arraySlice(arrayEnumerateDense(arrayConcat(ids, parents)), none) AS numbers
  FROM (${traces(since)}))`
}

/** Only traces with a call in the time that names no agent itself. */
function traces(since: string): string {
  return `SELECT trace, arraySort(groupArrayIf((span, agent), agent != '')) AS agents,
    groupArrayIf(span, agent = '') AS spans, groupArrayIf(parent, agent = '') AS parents, groupArrayIf(call, agent = '') AS calls
  FROM (SELECT ${TRACE} AS trace, ${SPAN} AS span, sipHash64(ParentSpanId) AS parent, AgentName AS agent, ModelCall AS call
    FROM otel_traces WHERE ${since} - toIntervalDay(1) AND SpanId != ''
    AND trace IN (SELECT ${TRACE} FROM otel_traces WHERE ModelCall = 1 AND AgentName = '' AND ${since}))
  GROUP BY trace HAVING notEmpty(agents)`
}

/** What stands in `array` at each of `places`. */
function at(array: string, places: string): string {
  return `arrayReduceInRanges('any', arrayMap(place -> (place, 1), ${places}), ${array})`
}
