import { Cursor, Sink, WIRE } from '../wire.ts'
import { ANY_VALUE, type Field, KEY_VALUE, type Message, TRACE_REQUEST } from './schema.ts'
import { type Literal, writeLiteral } from './values.ts'

/** Where a text stands: in what, and under which name (a field of OTLP, or an attribute's key). */
export interface TextPlace {
  readonly holder: 'resource' | 'scope' | 'span' | 'event' | 'link' | 'other'
  /** The attribute's key, or '' for a field such as a span's name. */
  readonly key: string
  /** Dotted path below the holder: `name`, `gen_ai.prompt`, `args.to[0]`. */
  readonly path: string
  /** The innermost key: of a map inside the attribute's value, else `key`. */
  readonly innerKey: string
  /** True when an outer key of a nested value was asked to be hidden by `hides`. */
  readonly hidden: boolean
}

/** What to write in place of texts. `undefined` always means: leave it as it is. */
export interface TextEdits {
  /** Called before the texts of a resource and of the spans below it, with its place among the request's resources. */
  entersResource(resource: number): void
  /** False: the span is copied as it is. Called once per row, in order, before its texts. */
  enters(row: number): boolean
  /** Called when a span that was entered is done: attributes to add. */
  leaves(row: number): Iterable<readonly [string, Literal]>
  text(value: string, place: TextPlace): string | undefined
  bytes(value: Buffer, place: TextPlace): Uint8Array | undefined
  /** An int or double of an attribute; a text takes its place. */
  number(value: bigint | number, place: TextPlace): string | undefined
  /** Everything below a map's key is to be hidden: `place.hidden` is set there. */
  hides(place: TextPlace): boolean
  /** A field that OTLP did not have when this was written; false leaves it out. */
  keepsUnknown(value: Buffer, place: TextPlace): boolean
}

/**
 * The request with its texts edited, wherever they stand: known fields by the schema, replaced ones, unknown ones.
 * Keys stay. Spans and rows stay as they are, in number and order.
 */
export function rewriteTexts(bytes: Uint8Array, edits: TextEdits): Buffer {
  const sink = new Sink(bytes.length + 1024)
  new Walker(sink, edits).message(TRACE_REQUEST, new Cursor(bytes), OTHER)
  return sink.take()
}

const OTHER: TextPlace = { holder: 'other', key: '', path: '', innerKey: '', hidden: false }
const HOLDERS: Readonly<Record<string, TextPlace['holder']>> = {
  Resource: 'resource',
  InstrumentationScope: 'scope',
  Span: 'span',
  Event: 'event',
  Link: 'link',
}
const FIELDS = new Map<Message, Map<number, Field>>()

function fieldOf(message: Message, number: number): Field | undefined {
  let fields = FIELDS.get(message)
  if (fields === undefined) {
    fields = new Map(message.fields.map((field) => [field.number, field]))
    FIELDS.set(message, fields)
  }
  return fields.get(number)
}

class Walker {
  readonly #sink: Sink
  readonly #edits: TextEdits
  #resource = 0
  #row = 0

  constructor(sink: Sink, edits: TextEdits) {
    this.#sink = sink
    this.#edits = edits
  }

  message(schema: Message, cursor: Cursor, place: TextPlace): void {
    while (cursor.next()) {
      const field = fieldOf(schema, cursor.field)
      if (field === undefined) this.#unknown(cursor, place)
      else if (field.kind === 'message') this.#child(field, cursor, place)
      else if (field.kind === 'string') this.#text(cursor, named(place, field.name))
      else this.#copy(cursor)
    }
  }

  #child(field: Field, cursor: Cursor, place: TextPlace): void {
    const schema = field.message!()
    if (schema.name === 'Span') return this.#span(schema, field.number, cursor)
    if (schema.name === 'ResourceSpans') this.#edits.entersResource(this.#resource++)
    const inner = cursor.message()
    const mark = this.#sink.open(field.number)
    if (schema === KEY_VALUE) this.#keyValue(inner, place)
    else this.message(schema, inner, placeIn(schema, field, place))
    this.#sink.close(mark)
  }

  #span(schema: Message, number: number, cursor: Cursor): void {
    const row = this.#row++
    if (!this.#edits.enters(row)) return this.#copy(cursor)
    const inner = cursor.message()
    const mark = this.#sink.open(number)
    this.message(schema, inner, { ...OTHER, holder: 'span' })
    for (const [key, value] of this.#edits.leaves(row)) this.#attribute(key, value)
    this.#sink.close(mark)
  }

  /** An attribute of a span (field 9). */
  #attribute(key: string, value: Literal): void {
    const mark = this.#sink.open(9)
    this.#sink.tag(1, WIRE.len)
    this.#sink.string(key)
    const inner = this.#sink.open(2)
    writeLiteral(this.#sink, value)
    this.#sink.close(inner)
    this.#sink.close(mark)
  }

  #keyValue(cursor: Cursor, outer: TextPlace): void {
    const key = keyOf(new Cursor(cursor.bytes, cursor.pos, cursor.end))
    const isAttribute = outer.key === '' && outer.innerKey === ''
    const bare: TextPlace = {
      holder: outer.holder,
      key: isAttribute ? key : outer.key,
      path: outer.path === '' ? key : `${outer.path}.${key}`,
      innerKey: key,
      hidden: outer.hidden,
    }
    const place = bare.hidden || !this.#edits.hides(bare) ? bare : { ...bare, hidden: true }
    while (cursor.next()) {
      if (cursor.field === 2 && cursor.wire === WIRE.len) {
        const inner = cursor.message()
        const mark = this.#sink.open(2)
        this.#anyValue(inner, place)
        this.#sink.close(mark)
      } else if (cursor.field <= 3) this.#copy(cursor)
      else this.#unknown(cursor, place)
    }
  }

  #anyValue(cursor: Cursor, place: TextPlace): void {
    while (cursor.next()) {
      switch (cursor.field) {
        case 1:
          this.#text(cursor, place)
          break
        case 3:
          this.#number(cursor, () => cursor.int64(), place)
          break
        case 4:
          this.#number(cursor, () => cursor.bytes.readDoubleLE(cursor.fixed(8)), place)
          break
        case 5:
        case 6:
          this.#list(cursor, place)
          break
        case 7:
          this.#bytes(cursor, place)
          break
        default:
          if (cursor.field === 2 || cursor.field === 8) this.#copy(cursor)
          else this.#unknown(cursor, place)
      }
    }
  }

  /** ArrayValue or KeyValueList: the elements are field 1 of both. */
  #list(cursor: Cursor, place: TextPlace): void {
    const isArray = cursor.field === 5
    const mark = this.#sink.open(cursor.field)
    const inner = cursor.message()
    let index = 0
    while (inner.next()) {
      if (inner.field !== 1) {
        this.#unknown(inner, place)
        continue
      }
      const element = inner.message()
      const open = this.#sink.open(1)
      if (isArray) this.#anyValue(element, { ...place, path: `${place.path}[${index++}]` })
      else this.#keyValue(element, place)
      this.#sink.close(open)
    }
    this.#sink.close(mark)
  }

  #text(cursor: Cursor, place: TextPlace): void {
    const { start, field } = cursor
    const text = cursor.string()
    const edited = this.#edits.text(text, place)
    if (edited === undefined) return this.#sink.raw(cursor.bytes, start, cursor.pos)
    this.#sink.tag(field, WIRE.len)
    this.#sink.string(edited)
  }

  #bytes(cursor: Cursor, place: TextPlace): void {
    const { start, field } = cursor
    const edited = this.#edits.bytes(cursor.view(), place)
    if (edited === undefined) return this.#sink.raw(cursor.bytes, start, cursor.pos)
    this.#sink.tag(field, WIRE.len)
    this.#sink.bytes(edited)
  }

  #number(cursor: Cursor, read: () => bigint | number, place: TextPlace): void {
    const { start } = cursor
    const edited = this.#edits.number(read(), place)
    if (edited === undefined) return this.#sink.raw(cursor.bytes, start, cursor.pos)
    this.#sink.tag(1, WIRE.len)
    this.#sink.string(edited)
  }

  #unknown(cursor: Cursor, place: TextPlace): void {
    if (cursor.wire !== WIRE.len) return this.#copy(cursor)
    const { start } = cursor
    const value = cursor.view()
    if (this.#edits.keepsUnknown(value, place)) this.#sink.raw(cursor.bytes, start, cursor.pos)
  }

  #copy(cursor: Cursor): void {
    const { start } = cursor
    cursor.skip()
    this.#sink.raw(cursor.bytes, start, cursor.pos)
  }
}

/** The last key, as readers take it. */
function keyOf(cursor: Cursor): string {
  let key = ''
  while (cursor.next()) {
    if (cursor.field === 1 && cursor.wire === WIRE.len) key = cursor.string()
    else cursor.skip()
  }
  return key
}

function placeIn(schema: Message, field: Field, place: TextPlace): TextPlace {
  const holder = HOLDERS[schema.name]
  if (holder !== undefined) return { ...OTHER, holder }
  return schema === ANY_VALUE ? place : named(place, field.name)
}

function named(place: TextPlace, name: string): TextPlace {
  return { ...place, path: place.path === '' ? name : `${place.path}.${name}` }
}
