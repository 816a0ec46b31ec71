export { stateSchema as config } from '../../pipeline/state/create.ts'
