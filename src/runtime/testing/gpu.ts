/** What the tests of devices need besides npm: Debian's `chromium` and `libvulkan1`. Without them they are skipped, loudly. */
import { existsSync } from 'node:fs';

export const CHROMIUM = '/usr/bin/chromium';
/** Chromium brings SwiftShader, a GPU in software, which serves Node as well. */
const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json';

export const hasChromium = existsSync(CHROMIUM);
export const hasVulkan = existsSync(SWIFTSHADER);
// Before ONNX Runtime looks for a driver.
if (hasVulkan) process.env.VK_ICD_FILENAMES ??= SWIFTSHADER;

if (!hasChromium || !hasVulkan) {
  console.warn(
    'SKIPPED: the tests of devices need Chromium with SwiftShader (apt-get install chromium libvulkan1)',
  );
}
