import { stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { className, isImage } from './files.ts';
import { entries, walk } from './folder.ts';

export interface StreamFile {
  readonly path: string;
  /** DOMAIN/CLASS/FILE, or DOMAIN/FILE. */
  readonly id: string;
  /** The class that its folder names. */
  readonly label?: string;
}
export interface DomainFolder {
  readonly name: string;
  /** In the order of their names. */
  readonly files: readonly StreamFile[];
}

/**
 * Reads `root/DOMAIN/CLASS/…image`; images that lie in a domain's folder itself have no label. Domains come in the order of
 * their names. Images are found by content.
 * @throws where the folder is missing, has no sub-folders, or a sub-folder has no image.
 */
export async function domainFolders(root: string): Promise<DomainFolder[]> {
  const base = resolve(root);
  const info = await stat(base).catch(() => undefined);
  if (!info?.isDirectory()) throw new Error(`no folder ${base}: give a folder with one sub-folder a domain`);
  const { folders } = await entries(base);
  if (!folders.length)
    throw new Error(
      `no sub-folders in ${base}: give each domain one, with a folder for each class or images alone`,
    );
  const domains: DomainFolder[] = [];
  for (const name of folders) {
    const top = await entries(join(base, name));
    const files: StreamFile[] = [];
    const add = async (path: string, label?: string) => {
      const file = join(base, name, path);
      if (await isImage(file))
        files.push({ path: file, id: `${name}/${path}`, ...(label !== undefined && { label }) });
    };
    for (const path of top.files) await add(path);
    for (const folder of top.folders) {
      for (const path of await walk(join(base, name, folder)))
        await add(`${folder}/${path}`, className(folder));
    }
    if (!files.length) throw new Error(`no readable image in the domain ${join(base, name)}`);
    domains.push({ name, files });
  }
  return domains;
}
