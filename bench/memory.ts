import { readFileSync, writeFileSync } from 'node:fs';

const status = (key: string): number | undefined => {
  try {
    const line = new RegExp(`^${key}:\\s+(\\d+) kB`, 'm').exec(readFileSync('/proc/self/status', 'utf8'));
    return line ? Number(line[1]) * 1024 : undefined;
  } catch {
    return undefined;
  }
};

/** Resident bytes of this process now. */
export const residentMemory = (): number => status('VmRSS') ?? process.memoryUsage.rss();
/** The most bytes that were resident since the start, or (Linux) since `resetPeak`. */
export const peakMemory = (): number => status('VmHWM') ?? process.resourceUsage().maxRSS * 1024;
export function resetPeak(): void {
  try {
    writeFileSync('/proc/self/clear_refs', '5');
  } catch {
    // Only Linux has it; elsewhere loading counts too.
  }
}
