import type { Logger } from 'pino'

/** pino's logger; components get a child tagged with their id. Nothing is logged per span. */
export type Log = Logger
