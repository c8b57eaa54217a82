/**
 * Name patterns: `*` stands for one segment or a part of it, `**` for any number of segments, also none.
 * Segments end at `.` and `:`. Returns the texts that the stars matched, or undefined.
 */
export function compilePattern(pattern: string): (name: string) => string[] | undefined {
  const source = pattern
    .split(/((?<=^|\.)\*\*\.|\*\*|\*)/)
    .map((part) => {
      if (part === '**.') return '(?:(.*)\\.)?';
      if (part === '**') return '(.*)';
      if (part === '*') return '([^.:]*)';
      return part.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    })
    .join('');
  const regex = new RegExp(`^${source}$`);
  return (name) =>
    regex
      .exec(name)
      ?.slice(1)
      .map((text) => text ?? '');
}
