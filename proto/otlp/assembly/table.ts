/*
 * The records of ../table.ts, whose fields these are: byte offsets into a record, and its width. A text is an
 * offset and, behind it, a length; a range its first and, behind it, its end; -1 means absent.
 */
/* Of all but attributes: where its content lies. */
export const OFF: usize = 0
export const LEN: usize = 4

export const SPAN_WIDTH: usize = 88
export const SPAN_SCOPE: usize = 8
export const SPAN_TRACE_ID: usize = 12
export const SPAN_SPAN_ID: usize = 16
export const SPAN_PARENT_ID: usize = 20
export const SPAN_NAME_OFF: usize = 24
export const SPAN_NAME_LEN: usize = 28
export const SPAN_START: usize = 32
export const SPAN_END: usize = 36
export const SPAN_KIND: usize = 40
export const SPAN_STATUS: usize = 44
export const SPAN_MESSAGE_OFF: usize = 48
export const SPAN_MESSAGE_LEN: usize = 52
export const SPAN_STATE_OFF: usize = 56
export const SPAN_STATE_LEN: usize = 60
export const SPAN_FIRST_ATTR: usize = 64
export const SPAN_END_ATTR: usize = 68
export const SPAN_FIRST_EVENT: usize = 72
export const SPAN_END_EVENT: usize = 76
export const SPAN_FIRST_LINK: usize = 80
export const SPAN_END_LINK: usize = 84

export const ATTR_WIDTH: usize = 16
export const ATTR_KEY: usize = 0
export const ATTR_TYPE: usize = 4
export const ATTR_OFF: usize = 8
export const ATTR_LEN: usize = 12

export const EVENT_WIDTH: usize = 28
export const EVENT_TIME: usize = 8
export const EVENT_NAME_OFF: usize = 12
export const EVENT_NAME_LEN: usize = 16
export const EVENT_FIRST_ATTR: usize = 20
export const EVENT_END_ATTR: usize = 24

export const LINK_WIDTH: usize = 32
export const LINK_TRACE_ID: usize = 8
export const LINK_SPAN_ID: usize = 12
export const LINK_STATE_OFF: usize = 16
export const LINK_STATE_LEN: usize = 20
export const LINK_FIRST_ATTR: usize = 24
export const LINK_END_ATTR: usize = 28

export const SCOPE_WIDTH: usize = 52
export const SCOPE_RESOURCE: usize = 8
export const SCOPE_NAME_OFF: usize = 12
export const SCOPE_NAME_LEN: usize = 16
export const SCOPE_VERSION_OFF: usize = 20
export const SCOPE_VERSION_LEN: usize = 24
export const SCOPE_SCHEMA_OFF: usize = 28
export const SCOPE_FIRST_ATTR: usize = 36
export const SCOPE_FIRST_ROW: usize = 44

export const RESOURCE_WIDTH: usize = 32
export const RESOURCE_SCHEMA_OFF: usize = 8
export const RESOURCE_FIRST_ATTR: usize = 16
export const RESOURCE_END_ATTR: usize = 20
export const RESOURCE_FIRST_SCOPE: usize = 24
