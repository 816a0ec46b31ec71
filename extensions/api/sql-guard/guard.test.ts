import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Session } from 'chdb'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { reject } from '../../../pipeline/fault.ts'
import { guardSql, type QueryParams } from './guard.ts'

const home = mkdtempSync(join(tmpdir(), 'weir-guard-'))
const loot = join(home, 'loot')
let session: Session

beforeAll(() => {
  session = new Session(join(home, 'db'))
  session.query('CREATE DATABASE weir')
  session.query('CREATE DATABASE other')
  session.query('USE weir')
  session.query(
    `CREATE TABLE weir.otel_traces (Timestamp DateTime64(9), TraceId String, SpanId String, ParentSpanId String,
     SpanName LowCardinality(String), Duration UInt64, StatusCode LowCardinality(String), TenantId String,
     UserId String, AgentName String, ToolName String, Operation String, Provider String, ResponseModel String,
     PriceModel String, InputTokens UInt32, OutputTokens UInt32, CacheReadTokens UInt32, CostUsd Decimal(18, 12),
     CostStatus String, FinishReason String, TimeToFirstTokenMs Float64,
     SpanAttributes Map(LowCardinality(String), String), \`Events.Name\` Array(String)) ENGINE = MergeTree ORDER BY Timestamp`,
  )
  session.query('CREATE TABLE weir.format (x Int32) ENGINE = Memory')
  session.query("CREATE TABLE other.secrets (x String) ENGINE = Memory AS SELECT 'loot'")
})
afterAll(() => {
  session.cleanup()
  rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

function ask(sql: string, params: QueryParams): Promise<string[][]> {
  try {
    const text = session.queryBind(sql, params, 'JSONCompact')
    const { data } = JSON.parse(text) as { data: string[][] }
    return Promise.resolve(data)
  } catch (error) {
    return Promise.reject(reject('QUERY_FAILED', (error as Error).message))
  }
}

const guard = (sql: string, params: QueryParams = {}) => guardSql(sql, params, ask)

/** What must not pass, and what its author is told. */
type Params = Readonly<Record<string, string | number | boolean | readonly string[]>>

const HOSTILE: readonly [sql: string, why: string | RegExp, params?: Params][] = [
  // Writing files.
  [`SELECT 1 INTO OUTFILE '${loot}'`, /INTO/],
  [`SELECT 1 INTO OUTFILE '${loot}' TRUNCATE FORMAT CSV`, /INTO/],
  [`SELECT 1 InTo/**/oUtFiLe '${loot}' AND STDOUT`, /INTO/],
  [`SELECT 1\u00a0INTO OUTFILE '${loot}'`, /INTO|yntax|recognized/],
  [`WITH 1 AS x SELECT x INTO\nOUTFILE '${loot}' APPEND`, /INTO/],
  [`(SELECT 1) INTO OUTFILE '${loot}'`, /INTO/],
  [`SELECT 1 UNION ALL SELECT 2 INTO OUTFILE '${loot}'`, /INTO/],
  [`EXPLAIN AST SELECT 1 INTO OUTFILE '${loot}'`, /not a SELECT/],
  [`INSERT INTO FUNCTION file('${loot}', 'CSV', 'x Int8') SELECT 1`, /not a SELECT/],
  // Format and settings.
  ['SELECT 1 FORMAT JSON', /FORMAT/],
  ['SELECT 1 format Native', /FORMAT/],
  ['SELECT 1 SETTINGS max_execution_time = 0', /SETTINGS/],
  ['SELECT * FROM (SELECT 1 SETTINGS max_threads = 1)', /SETTINGS/],
  ["SELECT 1 SETTINGS additional_table_filters = {'weir.otel_traces': '1'}", /SETTINGS|what stands at/],
  ['SELECT 1 UNION ALL SELECT 2 SETTINGS readonly = 0', /SETTINGS/],
  ['WITH c AS (SELECT 1 SETTINGS max_memory_usage = 0) SELECT * FROM c', /SETTINGS/],
  // More than one statement, or another kind.
  ['SELECT 1; DROP TABLE otel_traces', /ulti-statement/],
  ['SELECT 1;;SELECT 2', /ulti-statement/],
  ['SELECT 1 -- \n; DROP TABLE otel_traces', /ulti-statement/],
  ["SELECT 'a' /* ' */ ; DROP TABLE otel_traces --'", /ulti-statement/],
  ['SELECT $a$ $a$; DROP TABLE otel_traces -- $a$', /ulti-statement/],
  ["SELECT '\\'; DROP TABLE otel_traces --'; DROP TABLE otel_traces", /ulti-statement/],
  ['DROP TABLE otel_traces', /not a SELECT/],
  ['ALTER TABLE otel_traces DELETE WHERE 1', /not a SELECT/],
  ['INSERT INTO format SELECT 1', /not a SELECT/],
  ['CREATE FUNCTION f AS x -> x', /not a SELECT/],
  ['SET readonly = 0', /not a SELECT/],
  ['SYSTEM SHUTDOWN', /not a SELECT/],
  ['KILL QUERY WHERE 1', /not a SELECT/],
  ["BACKUP TABLE otel_traces TO File('/tmp/b')", /not a SELECT/],
  ['SHOW TABLES FROM system', /not a SELECT/],
  ['DESCRIBE TABLE other.secrets', /not a SELECT/],
  ['EXPLAIN SELECT 1', /not a SELECT/],
  ['SELECT * FROM (EXPLAIN SELECT * FROM other.secrets)', /viewExplain|EXPLAIN|other\.secrets/],
  ['USE other', /not a SELECT/],
  ['ATTACH TABLE x', /not a SELECT/],
  ['PARALLEL WITH SELECT 1 PARALLEL WITH DROP TABLE format', /yntax|not a SELECT/],
  ['', /mpty|yntax|not a SELECT/],
  [' -- only a comment', /mpty|yntax|not a SELECT/],
  // Table functions.
  ["SELECT * FROM file('/etc/passwd', 'LineAsString', 'l String')", /function file/],
  ["SELECT * FROM `file`('/etc/passwd', 'LineAsString', 'l String')", /function file/],
  ['SELECT * FROM "file"(\'/etc/passwd\')', /function file/],
  ["SELECT * FROM url('http://169.254.169.254/', 'LineAsString')", /function url/],
  ["SELECT * FROM s3('https://b.s3.amazonaws.com/x', 'CSV')", /function s3/],
  ["SELECT * FROM remote('127.0.0.1', system.one)", /function remote/],
  ["SELECT * FROM remoteSecure('127.0.0.1', 'other', 'secrets')", /function remoteSecure/],
  ["SELECT * FROM cluster('default', other.secrets)", /function cluster/],
  ["SELECT * FROM mysql('h:3306', 'd', 't', 'u', 'p')", /function mysql/],
  ["SELECT * FROM postgresql('h:5432', 'd', 't', 'u', 'p')", /function postgresql/],
  ["SELECT * FROM executable('id', 'TSV', 'x String')", /function executable/],
  ["SELECT * FROM merge('other', '.*')", /function merge/],
  ["SELECT * FROM merge('.*')", /function merge/],
  ["SELECT * FROM dictionary('d')", /function dictionary/],
  ["SELECT * FROM input('x Int8')", /function input/],
  ["SELECT * FROM mergeTreeIndex('other', 'secrets')", /function mergeTreeIndex/],
  ["SELECT * FROM Python('x')", /function Python/i],
  ['SELECT * FROM view(SELECT * FROM other.secrets)', /function view|other\.secrets/],
  ['SELECT * FROM loop(other.secrets)', /function loop/],
  ["SELECT * FROM otel_traces JOIN file('/etc/passwd') f ON 1 = 1", /function file/],
  ["SELECT 1 WHERE 1 IN (SELECT * FROM url('http://x/', 'CSV', 'a Int8'))", /function url/],
  ["WITH c AS (SELECT * FROM file('/etc/passwd')) SELECT 1", /function file/],
  ["SELECT (SELECT count() FROM file('/etc/passwd'))", /function file/],
  // Functions that reach outside.
  ["SELECT file('/etc/passwd')", /function file/],
  ["SELECT FILE('/etc/passwd')", /FILE/],
  ["SELECT `file`('/etc/passwd')", /function file/],
  ["SELECT dictGet('d', 'a', 1)", /function dictGet/],
  ["SELECT dictGetOrNull('d', 'a', 1)", /function dictGetOrNull/],
  ["SELECT joinGet('other.j', 'x', 1)", /function joinGet/],
  ["SELECT hasColumnInTable('h', 'u', 'p', 'other', 'secrets', 'x')", /function hasColumnInTable/],
  ['SELECT hostName()', /function hostName/],
  ['SELECT FQDN(), serverUUID()', /function FQDN/],
  ['SELECT sleep(3)', /function sleep/],
  ['SELECT sleepEachRow(3) FROM numbers(100)', /function sleepEachRow/],
  ["SELECT getSetting('max_threads')", /function getSetting/],
  ['SELECT currentUser()', /function currentUser/],
  ["SELECT getMacro('x')", /function getMacro/],
  ['SELECT filesystemAvailable()', /function filesystemAvailable/],
  ['SELECT showCertificate()', /function showCertificate/],
  ['SELECT addressToLine(1)', /function addressToLine/],
  ["SELECT catboostEvaluate('/etc/passwd', 1)", /function catboostEvaluate/],
  ["SELECT aiGenerate('x')", /function aiGenerate/],
  ['SELECT regionToName(1)', /function regionToName/],
  ["SELECT formatQuery('x')", /function formatQuery/],
  ["SELECT initializeAggregation('sum', 1)", /function initializeAggregation/],
  ['SELECT aggThrow(0.1)(1)', /function aggThrow/],
  ['SELECT my_udf(1)', /function my_udf/],
  // Functions in places that the parsed form does not print.
  ['SELECT * APPLY(x -> file(x)) FROM otel_traces', /APPLY/],
  ["SELECT COLUMNS('Trace') APPLY(file) FROM otel_traces", /APPLY/],
  ["SELECT COLUMNS('Trace') APPLY sleep FROM otel_traces", /APPLY/],
  ['SELECT sum(1) OVER (ROWS BETWEEN sleep(1) PRECEDING AND CURRENT ROW)', /function sleep/],
  ['SELECT quantile(sleep(1))(1)', /function sleep/],
  ['SELECT 1 AS a ORDER BY a WITH FILL FROM 1 TO sleep(3)', /function sleep/],
  ['SELECT 1 AS a, 2 AS b ORDER BY a WITH FILL INTERPOLATE (b AS sleep(3))', /function sleep/],
  ['SELECT 1 LIMIT sleep(1)', /function sleep/],
  ['SELECT count() FILTER (WHERE sleep(1))', /function sleep/],
  ['SELECT arrayMap(x -> sleep(x), [1])', /function sleep/],
  ["SELECT x -> dictGet('d', 'a', x)", /function dictGet/],
  // Other databases.
  ['SELECT * FROM system.tables', /system\./],
  ['SELECT * FROM `system`.`users`', /system\./],
  ['SELECT * FROM "system".one', /system\./],
  ['SELECT * FROM SYSTEM.one', /system\./i],
  ['SELECT * FROM `system.one`', /system\./],
  ['SELECT * FROM information_schema.tables', /information_schema\./],
  ['SELECT * FROM INFORMATION_SCHEMA.COLUMNS', /INFORMATION_SCHEMA/],
  ['SELECT * FROM other.secrets', /other\.secrets/],
  ['SELECT * FROM weir.otel_traces, other.secrets', /other\.secrets/],
  ['SELECT * FROM weir.otel_traces UNION ALL SELECT * FROM other.secrets', /other\.secrets/],
  ['SELECT 1 INTERSECT SELECT * FROM other.secrets', /other\.secrets/],
  ['SELECT 0 IN system.one', /system\./],
  ["SELECT 'loot' IN other.secrets", /other\.secrets/],
  ["SELECT 'loot' NOT IN (other.secrets)", /other\.secrets/],
  ["SELECT in('loot', other.secrets)", /other\.secrets/],
  ["SELECT 'loot' GLOBAL IN other.secrets", /other\.secrets/],
  ["SELECT nullIn('loot', other.secrets)", /other\.secrets/],
  ['WITH (SELECT x FROM other.secrets) AS s SELECT s', /other\.secrets/],
  ['SELECT EXISTS(SELECT 1 FROM other.secrets)', /other\.secrets/],
  ['SELECT * FROM {t:Identifier}', /not a name/, { t: 'secrets' }],
  ['SELECT * FROM {d:Identifier}.secrets', /not a name/, { d: 'other' }],
  ['SELECT * FROM `weir`.`otel_traces\n  TableIdentifier weir.x`', /control characters/],
  ['SELECT 1 AS `a\n   Literal UInt64_1`', /control characters/],
  ['SELECT {missing:String}', /missing has no value/],
  // Names that look like ours.
  ['SELECT * FROM `weir.secret`.t', /weir\.secret/],
  // Made-up states.
  ["SELECT CAST(unhex('00'), 'AggregateFunction(uniq, String)')", /states/],
  ["SELECT JSONExtract('{}', 'a', 'AggregateFunction(sum, UInt64)')", /states/],
  // Too much.
  [`SELECT ${'('.repeat(500)}1${')'.repeat(500)}`, /nested|depth/i],
  [`SELECT '${'x'.repeat(70_000)}'`, /longer than/],
  ['SELECT 1\0', /zero byte/],
  ["SELECT 'unclosed", /yntax|recognized/],
  ['SELECT @@version', /globalVariable|yntax/],
]

const LEGITIMATE: readonly [sql: string, params?: Params][] = [
  ['SELECT 1'],
  ['select count(*) from otel_traces;'],
  ['SELECT 1 -- with a comment\n/* and another */ ;\n'],
  ["SELECT 'INTO OUTFILE; DROP TABLE x -- ' AS s, `s` || $$FORMAT; SETTINGS$$"],
  ["SELECT format('{} {}', SpanName, TraceId) FROM weir.otel_traces"],
  ['SELECT t.x AS `Total (USD)` FROM weir.format AS t'],
  ['FROM otel_traces SELECT SpanName'],
  [
    'SELECT toDate(Timestamp) AS d, Provider, PriceModel, sum(CostUsd) AS usd, count() AS n FROM otel_traces WHERE TenantId = {tenant:String} GROUP BY ALL ORDER BY d, usd DESC',
    { tenant: 'a' },
  ],
  [
    'SELECT UserId, sum(CostUsd) AS usd, toFloat64(usd) / sum(toFloat64(usd)) OVER () AS share FROM otel_traces GROUP BY UserId ORDER BY usd DESC LIMIT 20',
  ],
  [
    'SELECT PriceModel, round(sum(CacheReadTokens) / nullIf(sum(InputTokens), 0), 3) AS hit FROM otel_traces GROUP BY PriceModel',
  ],
  [
    'SELECT toStartOfHour(Timestamp) AS h, quantilesTDigest(0.5, 0.95, 0.99)(Duration / 1e6) AS ms FROM otel_traces WHERE Timestamp >= now() - INTERVAL 1 DAY GROUP BY h ORDER BY h WITH FILL STEP INTERVAL 1 HOUR',
  ],
  [
    'SELECT PriceModel, quantileIf(0.95)(TimeToFirstTokenMs, TimeToFirstTokenMs > 0) FROM otel_traces GROUP BY 1',
  ],
  [
    "SELECT AgentName, count(), avg(usd) FROM (SELECT TraceId, any(AgentName) AS AgentName, toFloat64(sumIf(CostUsd, Operation = 'chat')) AS usd FROM otel_traces GROUP BY TraceId) GROUP BY AgentName HAVING count() > 0",
  ],
  [
    "SELECT TraceId, sum(CostUsd) AS usd, countIf(Operation = 'chat'), uniqExact(ToolName) FROM otel_traces GROUP BY TraceId ORDER BY usd DESC LIMIT 1 BY TraceId LIMIT 20",
  ],
  [
    "SELECT PriceModel, if(StatusCode = 'Error', 'error', FinishReason) AS why, sum(CostUsd) FROM otel_traces WHERE FinishReason IN ('length', 'max_tokens') GROUP BY ALL WITH TOTALS",
  ],
  [
    'WITH w AS (SELECT PriceModel, toMonday(Timestamp) AS wk, count() AS n FROM otel_traces GROUP BY ALL) SELECT a.PriceModel, a.n - b.n FROM w AS a JOIN w AS b ON a.PriceModel = b.PriceModel AND a.wk = b.wk + INTERVAL 7 DAY',
  ],
  ['SELECT arrayJoin(mapKeys(SpanAttributes)) AS k, count() FROM otel_traces GROUP BY k'],
  ["SELECT SpanAttributes['gen_ai.system'], e FROM otel_traces ARRAY JOIN Events.Name AS e"],
  ["SELECT JSONExtractString(SpanAttributes['x'], 'a', 1), JSON_VALUE('{}', '$.a') FROM otel_traces"],
  [
    'SELECT row_number() OVER (PARTITION BY TraceId ORDER BY Timestamp ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) AS r, lagInFrame(SpanId) OVER w FROM otel_traces WINDOW w AS (PARTITION BY TraceId ORDER BY Timestamp) QUALIFY r = 1',
  ],
  [
    "WITH RECURSIVE tree AS (SELECT SpanId, 0 AS depth FROM otel_traces WHERE ParentSpanId = '' UNION ALL SELECT t.SpanId, tree.depth + 1 FROM otel_traces AS t JOIN tree ON t.ParentSpanId = tree.SpanId) SELECT * FROM tree",
  ],
  [
    "SELECT TraceId FROM otel_traces WHERE TraceId IN (SELECT TraceId FROM otel_traces WHERE ToolName LIKE '%x%') UNION ALL (SELECT 'a') EXCEPT SELECT 'b'",
  ],
  ['WITH ids AS (SELECT TraceId FROM otel_traces) SELECT count() FROM otel_traces WHERE TraceId IN ids'],
  ['SELECT * EXCEPT (TraceId) REPLACE (1 AS Duration) FROM otel_traces'],
  [
    "SELECT CASE WHEN Duration > 1e9 THEN 'slow' ELSE 'fast' END AS s, CASE s WHEN 'slow' THEN 1 ELSE 2 END, CAST(Duration AS Float64), Duration::Decimal(18, 3), EXTRACT(YEAR FROM Timestamp), toTypeName(1) FROM otel_traces",
  ],
  [
    'SELECT number, arrayMap((x, y) -> x + y, [1, 2], [3, 4]), arraySum(range(number)), {n:UInt8} FROM numbers(3)',
    { n: 3 },
  ],
  ['SELECT has({names:Array(String)}, SpanName) FROM otel_traces', { names: ['a', 'b'] }],
  [
    "SELECT SpanName, groupArray(3)(TraceId), topK(3)(SpanName), argMax(SpanId, Timestamp), sumMap(map('a', 1)), countDistinct(TraceId), count(DISTINCT TraceId, SpanId), uniqCombined(17)(TraceId) FROM otel_traces GROUP BY GROUPING SETS ((SpanName), ())",
  ],
  [
    "SELECT TraceId FROM otel_traces AS a LEFT ANTI JOIN (SELECT 'x' AS TraceId) AS b USING (TraceId) WHERE NOT (Duration BETWEEN 1 AND 2) AND StatusCode IS NOT NULL",
  ],
]

describe('SQL guard, on ClickHouse itself', () => {
  it.each(HOSTILE)('refuses %s', async (sql, why, params) => {
    await expect(guard(sql, params)).rejects.toMatchObject({
      code: 'QUERY_REFUSED',
      message: expect.stringMatching(why) as string,
    })
  })

  it('has refused before anything ran', () => {
    expect(existsSync(loot)).toBe(false)
    expect(session.query("SELECT count() FROM system.tables WHERE database = 'weir'", 'TSV').trim()).toBe('2')
  })

  it.each(LEGITIMATE)('lets an analyst ask %s', async (sql, params = {}) => {
    const printed = await guard(sql, params)
    expect(session.queryBind(printed, params, 'JSONCompact')).toContain('"data"')
  })

  it('gives back the text as the parser printed it, without comments', async () => {
    expect(await guard('select /* a */ 1 -- b')).toBe('SELECT 1')
  })

  it('refuses when the parser shows a node that is not known', async () => {
    const lying = (sql: string) =>
      Promise.resolve(sql.includes('EXPLAIN') ? [['Surprise']] : [['SELECT 1', 'weir']])
    await expect(guardSql('SELECT 1', {}, lying)).rejects.toMatchObject({ code: 'QUERY_REFUSED' })
  })

  it('hands on what is no fault of the query', async () => {
    const down = () => Promise.reject(reject('NOT_FOUND', 'no exporter'))
    await expect(guardSql('SELECT 1', {}, down)).rejects.toMatchObject({ code: 'NOT_FOUND' })
  })
})
