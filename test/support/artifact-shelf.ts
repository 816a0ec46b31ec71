import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Artifact, ArtifactName, ArtifactShelf } from '../../pipeline/artifact.ts'
import type { Context } from '../../pipeline/factory.ts'
import { Vault } from '../../pipeline/identity/vault.ts'
import { Secret } from '../../pipeline/secret.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { Archive, sha256Of } from '../../processors/artifacts/archive.ts'
import { config } from '../../processors/artifacts/config.ts'
import { Shelf } from '../../processors/artifacts/shelf.ts'
import { exporterContext } from '../contract/exporter.ts'

/** Artifacts in a directory, sealed, and the shelf that the API reads them from. */
export class FilledShelf {
  readonly shelf: ArtifactShelf
  readonly #archive: Archive
  readonly #close: () => Promise<void>

  private constructor(shelf: ArtifactShelf, archive: Archive, close: () => Promise<void>) {
    this.shelf = shelf
    this.#archive = archive
    this.#close = close
  }

  static async open(clock: () => number = Date.now): Promise<FilledShelf> {
    const home = mkdtempSync(join(tmpdir(), 'weir-shelf-'))
    const state = new EmbeddedState(join(home, 'state'))
    await state.open()
    const vault = new Vault(new Secret(randomBytes(32).toString('hex')))
    const owner: Context = { ...exporterContext('artifacts'), state, vault, clock }
    const options = config.parse({ directory: join(home, 'place') })
    const archive = new Archive(options, owner, { looksFirst: false })
    const shelf = new Shelf(options, owner)
    await archive.start()
    await shelf.start()
    return new FilledShelf(shelf, archive, async () => {
      await state.close()
      rmSync(home, { recursive: true })
    })
  }

  async put(tenant: string, artifact: Artifact): Promise<ArtifactName> {
    const name = { tenant, sha256: sha256Of(artifact.bytes) }
    await this.#archive.put(name, artifact, 0, new AbortController().signal)
    return name
  }

  close(): Promise<void> {
    return this.#close()
  }
}
