/**
 * Which drawing sets belong together, which of them a pretrained model may see, and in which style they draw.
 *
 * Sets of one origin (editions of one library, forks, one studio's packs) form a family, and a family is either
 * for pretraining or held out, never both: otherwise a test drawing could have been seen in an older edition.
 */

/** Families of more than one set; every other set is a family of its own. */
const groups: Record<string, string> = {
  material: 'material-symbols material-symbols-light ic mdi mdi-light zmdi line-md memory',
  'font-awesome':
    'fa fa-solid fa-regular fa-brands fa6-solid fa6-regular fa6-brands fa7-solid fa7-regular fa7-brands',
  icons8: 'la icons8 wpf flat-color-icons',
  microsoft:
    'fluent fluent-color fluent-mdl2 codicon fluent-emoji fluent-emoji-flat fluent-emoji-high-contrast',
  ionicons: 'ion famicons',
  tailwind: 'heroicons heroicons-outline heroicons-solid sidekickicons flowbite',
  feather: 'feather lucide lucide-lab fe vadivam mynaui',
  streamline:
    'streamline streamline-ultimate streamline-plump streamline-sharp streamline-cyber streamline-pixel ' +
    'streamline-block streamline-freehand streamline-flex streamline-ultimate-color streamline-plump-color ' +
    'streamline-freehand-color streamline-kameleon-color streamline-stickies-color streamline-color ' +
    'streamline-flex-color streamline-sharp-color streamline-cyber-color streamline-emojis streamline-logos ' +
    'guidance covid',
  boxicons: 'boxicons bx bxs bxl',
  'icon-park': 'icon-park icon-park-outline icon-park-solid icon-park-twotone',
  coreui: 'cil cib cif',
  pepicons: 'pepicons pepicons-pop pepicons-print pepicons-pencil',
  unicons: 'uil uim uit uis',
  glyphs: 'glyphs glyphs-poly',
  herrmann: 'pixelarticons majesticons',
  mono: 'mi mono-icons',
  entypo: 'entypo entypo-social',
  noto: 'noto noto-v1',
  emojione: 'emojione emojione-monotone emojione-v1',
  maps: 'pinhead maki temaki roentgen osmic map',
  cryptocurrency: 'cryptocurrency cryptocurrency-color token token-branded',
  flags: 'circle-flags flag flagpack',
  thesvg: 'thesvg thesvg-color selfhst',
  devicon: 'devicon devicon-plain',
};

/**
 * Families that no pretrained model sees. Few-shot tasks and every reported accuracy use their drawings only.
 * Chosen by hand so that (a) every style is present: plain outline (iconoir, carbon), solid (vaadin, entypo),
 * both (ri, bi, ph), duotone (si, duo-icons, pepicons), colour (icon-park, twemoji, marketeq), pixels (pixel,
 * herrmann, dinkie-icons); (b) a hundred everyday names have at least 26 drawings in them; (c) the largest
 * libraries stay for pretraining, which keeps four fifths of all icons.
 */
export const heldOutFamilies: ReadonlySet<string> = new Set(
  (
    'akar-icons ant-design basil bi carbon ci circum clarity coreui cuida dinkie-icons duo-icons emojione entypo ep ' +
    'eva f7 flat-ui fxemoji garden gg gravity-ui grommet-icons healthicons herrmann humbleicons icon-park iconoir il ' +
    'ionicons jam lineicons mage marketeq meteocons octicon pepicons ph pixel prime proicons raphael ri si subway ' +
    'tdesign teenyicons topcoat twemoji typcn uiw unicons vaadin zondicons'
  ).split(' '),
);

/** Sets that are never used, by what rules them out. */
const excluded: Record<string, string> = {
  'non-commercial licence': 'cbi ps',
  'copyleft licence (GPL)': 'gala et icomoon-free gridicons wordpress dashicons',
  'trademarks, not things':
    'simple-icons logos streamline-logos cib fa-brands fa6-brands fa7-brands bxl nonicons arcticons thesvg ' +
    'thesvg-color selfhst brandico entypo-social token token-branded cryptocurrency cryptocurrency-color devicon ' +
    'devicon-plain skill-icons gcp k8s unjs vscode-icons material-icon-theme file-icons catppuccin academicons',
  'flags named by country code': 'circle-flags flag flagpack cif',
  'animations without a still drawing': 'svg-spinners',
};

const invert = (groups: Record<string, string>) =>
  new Map(Object.entries(groups).flatMap(([key, sets]) => sets.split(' ').map((set) => [set, key] as const)));

const familyByPrefix = invert(groups);
const excludedByPrefix = invert(excluded);

export const familyOf = (prefix: string): string => familyByPrefix.get(prefix) ?? prefix;

/** Why a set is not used at all, or undefined. */
export const exclusionOf = (prefix: string): string | undefined => excludedByPrefix.get(prefix);

export type IconRole = 'pretrain' | 'heldOut' | 'excluded';

export function roleOf(prefix: string): IconRole {
  if (excludedByPrefix.has(prefix)) return 'excluded';
  return heldOutFamilies.has(familyOf(prefix)) ? 'heldOut' : 'pretrain';
}

/** How an icon is drawn: the domains of domain generalisation. */
export type IconDomain = 'outline' | 'solid' | 'duotone' | 'color' | 'pixel';
export const iconDomains: readonly IconDomain[] = ['outline', 'solid', 'duotone', 'color', 'pixel'];

const drawnIn = invert({
  pixel: 'pixel dinkie-icons pixelarticons streamline-pixel memory',
  duotone: 'uim duo-icons pepicons-print icon-park-twotone pepicons',
  solid:
    'uis vaadin entypo subway typcn zondicons uiw il topcoat raphael healthicons majesticons icon-park-solid ion ' +
    'famicons mdi ic material-symbols material-symbols-light zmdi fa fa-solid fa6-solid fa7-solid game-icons whh ' +
    'si-glyph el foundation maki temaki map pinhead roentgen osmic gis medical-icon emojione-monotone ' +
    'fluent-emoji-high-contrast heroicons-solid bxs picon ls vs websymbol fontisto oi fad ooui weui glyphs ' +
    'streamline-block',
}) as Map<string, IconDomain>;

/** The domain of one drawing from its set and the style words of its name. */
export function domainOf(prefix: string, style: string, palette: boolean): IconDomain {
  if (palette) return 'color';
  const set = drawnIn.get(prefix);
  if (set === 'pixel' || set === 'duotone') return set;
  if (/duo|two-?tone/.test(style)) return 'duotone';
  if (/outline|line|linear|stroke|thin|light|broken|^o$| o$/.test(style)) return 'outline';
  if (/fill|solid|baseline|^f$|negative/.test(style) || (prefix === 'solar' && /bold/.test(style)))
    return 'solid';
  return set ?? 'outline';
}
