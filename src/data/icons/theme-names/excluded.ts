/** Class names of themes that use sets which pretraining never reads: trademarks, and flags named by country code. */

const flags: Readonly<Record<string, string>> = {
  ar: 'argentina',
  au: 'australia',
  at: 'austria',
  bd: 'bangladesh',
  be: 'belgium',
  br: 'brazil',
  ca: 'canada',
  cl: 'chile',
  cn: 'china',
  co: 'colombia',
  cu: 'cuba',
  dk: 'denmark',
  eg: 'egypt',
  ee: 'estonia',
  et: 'ethiopia',
  fi: 'finland',
  fr: 'france',
  de: 'germany',
  gh: 'ghana',
  gr: 'greece',
  hu: 'hungary',
  is: 'iceland',
  in: 'india',
  id: 'indonesia',
  ie: 'ireland',
  il: 'israel',
  it: 'italy',
  jm: 'jamaica',
  jp: 'japan',
  ke: 'kenya',
  lv: 'latvia',
  lt: 'lithuania',
  my: 'malaysia',
  mx: 'mexico',
  ma: 'morocco',
  np: 'nepal',
  nl: 'netherlands',
  nz: 'new zealand',
  ng: 'nigeria',
  no: 'norway',
  pk: 'pakistan',
  pe: 'peru',
  ph: 'philippines',
  pl: 'poland',
  pt: 'portugal',
  ro: 'romania',
  sa: 'saudi arabia',
  sg: 'singapore',
  za: 'south africa',
  kr: 'south korea',
  es: 'spain',
  se: 'sweden',
  ch: 'switzerland',
  th: 'thailand',
  tn: 'tunisia',
  ua: 'ukraine',
  gb: 'united kingdom',
  us: 'united states',
  uy: 'uruguay',
  vn: 'vietnam',
};

/** Sets name a flag `de`, `de-1x1`, `flag-germany` or `flag-for-germany`. */
export const flagNames = Object.entries(flags)
  .map(
    ([code, name]) => `${name}: ${[code, `${code} 1x1`, `${code} 4x3`, `flag ${name}`, `flag for ${name}`]}`,
  )
  .join(' | ');

export const brandNames = `
airbnb | amazon | apple | behance | bitbucket | bitcoin | bluetooth | codepen | debian | deviantart | discord
dribbble | dropbox | drupal | facebook | figma | firefox: firefox browser | flickr | github | gitlab | google
google drive | google play | instagram | jira | lastfm | linkedin | linux | mastodon | medium | meta
microsoft | netflix | notion | opera | patreon | paypal | pinterest | playstation | reddit | safari | shopify
skype | slack | snapchat | soundcloud | spotify | steam | telegram | tiktok | trello | tumblr | twitch
twitter | uber | ubuntu | vimeo | whatsapp | wikipedia | wordpress | xbox | yahoo | yelp | youtube`;

export const fileTypeNames = `
angular | ansible | arduino | astro | babel | bazel | bun | c | clojure | cmake | crystal | css | dart | deno
docker | elixir | elm | ember | eslint | figma | firebase | fortran | git | gitlab | go | godot | gradle
graphql | groovy | gulp | haskell | haxe | java | javascript | jest | json | julia | kotlin | kubernetes | lua
markdown | matlab | nginx | nim | npm | nuget | nuxt | ocaml | perl | php | postcss | powershell | prisma
pug | python | r | racket | ruby | rust | sass | scala | sketch | solidity | storybook | svelte | swift
terraform | toml | typescript | vala | vite | vitest | webpack | yaml | yarn | zig`;
