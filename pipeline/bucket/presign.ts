import type { GetObjectCommand, S3Client } from '@aws-sdk/client-s3'

/** What the SDK has built before it signs, and what its signer gives back. */
interface Request {
  readonly protocol: string
  readonly hostname: string
  readonly port?: number
  readonly path: string
  readonly query: Readonly<Record<string, string | readonly string[] | null | undefined>>
  readonly headers: Record<string, string>
}
type Signer = (
  request: Request,
  options: { expiresIn: number; unsignableHeaders: Set<string> },
) => Promise<Request>

/** Of the SDK's own requests: whoever follows the link does not send them. */
const OWN_HEADERS = [
  'amz-sdk-invocation-id',
  'amz-sdk-request',
  'user-agent',
  'x-amz-user-agent',
  'content-type',
]

/**
 * The command as a URL signed by AWS Signature Version 4 in its query ("Authenticating Requests: Using Query Parameters"
 * of the S3 API reference), by the client's own signer, credentials, region and endpoint. Nothing is sent.
 */
export async function presigned(
  client: S3Client,
  command: GetObjectCommand,
  expiresInS: number,
): Promise<string> {
  let url = ''
  command.middlewareStack.add(
    () => async (args) => {
      const request = args.request as Request
      for (const name of OWN_HEADERS) delete request.headers[name]
      // S3 takes this word for the body's hash of every signed URL.
      request.headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD'
      const signer = (await client.config.signer()) as unknown as { presign: Signer }
      const signed = await signer.presign(request, { expiresIn: expiresInS, unsignableHeaders: new Set() })
      url = urlOf(signed)
      return { response: {}, output: { $metadata: {} } }
    },
    { step: 'finalizeRequest', priority: 'high', name: 'presign' },
  )
  await client.send(command)
  return url
}

function urlOf({ protocol, hostname, port, path, query }: Request): string {
  const pairs = Object.entries(query).flatMap(([name, value]) =>
    [value ?? ''].flat().map((one) => `${encode(name)}=${encode(one)}`),
  )
  return `${protocol}//${hostname}${port === undefined ? '' : `:${port}`}${path}?${pairs.join('&')}`
}

/** As signatures are reckoned over it: RFC 3986, also for `!'()*`. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}
