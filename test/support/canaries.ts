/** Spans with something secret in every place that can hold a value. Each secret contains CANARY or is an address of it. */
export const CANARY = 'canary'

let count = 0

function address(): string {
  return `canary.${++count}@leak-test.example.org`
}

function secret(): string {
  return `Canary${++count}x9Q`
}

type Value = Record<string, unknown>

function text(stringValue: string): Value {
  return { stringValue }
}

function list(...values: Value[]): Value {
  return { arrayValue: { values } }
}

function map(entries: Record<string, Value>): Value {
  return { kvlistValue: { values: Object.entries(entries).map(([key, value]) => ({ key, value })) } }
}

function attributes(place: string): { key: string; value: Value }[] {
  const base64 = Buffer.from(`{"mail": "${address()}", "n": 1}`).toString('base64')
  const deep = JSON.stringify({
    a: JSON.stringify({ b: JSON.stringify({ mail: address(), password: secret() }) }),
  })
  const values: Record<string, Value> = {
    plain: text(`write to ${address()} today`),
    password: text(secret()),
    'http.request.header.authorization': list(text(`Bearer ${secret()}`)),
    list: list(text('clean'), text(address()), list(text(address()))),
    map: map({
      inner: text(address()),
      api_key: text(secret()),
      deeper: map({ credentials: map({ user: text(secret()) }) }),
    }),
    bytes: { bytesValue: Buffer.from(`from ${address()}`).toString('base64') },
    json: text(`{"to": "${address()}", "nested": {"client_secret": "${secret()}"}}`),
    json_in_json: text(deep),
    json_cut: text(`{"messages": [{"content": "ask ${address()} and the`),
    json_escaped: text(`{"mail": "${address().replace('@', '\\u0040')}"}`),
    text_with_json: text(`Result: {"mail": "${address()}", "token": "${secret()}"} done`),
    python: text(`{'password': '${secret()}', 'n': None}`),
    base64: text(`payload ${base64} end`),
    'url.full': text(
      `https://api.example.org/q?mail=${encodeURIComponent(address())}&access_token=${secret()}`,
    ),
    'db.query.text': text(`SELECT * FROM users WHERE mail = '${address()}' AND password = '${secret()}'`),
    insert: text(`INSERT INTO users (name, password) VALUES ('ada', '${secret()}'), ('bob', '${secret()}')`),
    env: text(`PATH=/bin\nDB_PASSWORD=${secret()}\nexport API_KEY="${secret()}"`),
    headers: text(`GET / HTTP/1.1\r\nCookie: sid=${secret()}; b=2\r\nX-Api-Key: ${secret()}\r\n`),
    pairs: text(`[{"name": "Authorization", "value": "Bearer ${secret()}"}]`),
    cli: text(`tool --token ${secret()} --verbose`),
    xml: text(`<user><password>${secret()}</password></user>`),
    dsn_in_text: text(`connect to postgres://admin:${secret()}@db.internal:5432/x`),
    'exception.stacktrace': text(`Error: no such user ${address()}\n    at lookup (/app/users.js:10:5)`),
    // Only a mark makes it secret; nothing marks those of the resource and the scope.
    marked: text(`nothing to see, ${place === 'resource' || place === 'scope' ? 'nobody' : CANARY} said so`),
  }
  return Object.entries(values).map(([key, value]) => ({ key: `${place}.${key}`, value }))
}

/** One resource, one scope, one span with an event and a link: OTLP/JSON. */
export function canaryDocument(traceId: string, spanId: string): object {
  return {
    resourceSpans: [
      {
        resource: { attributes: attributes('resource') },
        schemaUrl: `https://${address()}/schema`,
        scopeSpans: [
          {
            scope: {
              name: `scope ${address()}`,
              version: `1.0 ${address()}`,
              attributes: attributes('scope'),
            },
            schemaUrl: `https://${address()}/scope`,
            spans: [
              {
                traceId,
                spanId,
                name: `mail ${address()}`,
                kind: 3,
                startTimeUnixNano: '1780000000000000000',
                endTimeUnixNano: '1780000001000000000',
                traceState: `v=${address()}`,
                status: { code: 2, message: `failed for ${address()}` },
                attributes: [
                  ...attributes('span'),
                  {
                    key: 'weir.redact',
                    value: list(text('span.marked'), text('event.marked'), text('link.marked')),
                  },
                ],
                events: [
                  {
                    timeUnixNano: '1780000000500000000',
                    name: `event ${address()}`,
                    attributes: attributes('event'),
                  },
                ],
                links: [{ traceId, spanId, traceState: `l=${address()}`, attributes: attributes('link') }],
              },
            ],
          },
        ],
      },
    ],
  }
}
