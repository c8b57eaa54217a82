/**
 * The default task: a hundred everyday things, each drawn in dozens of held-out sets. Names that point at two things
 * (mouse, table, diamond, pin, apple, radio), at one another (box and cube, server and database) or at a mere
 * direction are left out.
 */

/** Class name, then the other names under which sets file the same drawing. */
const common = `
airplane: plane | anchor | bank | bar chart: chart bar | battery | bell | bicycle: bike
book | bookmark | briefcase | building | brush: paint brush, paintbrush | bug | bus | cake: birthday cake
calculator | calendar | camera | car | clipboard | clock | cloud | compass | credit card | crown
database | download | droplet: drop, water drop | envelope: mail, email | eye | fire: flame | flag | flask | folder
gamepad: game controller | gear: cog | gift: present | globe: world | hammer | headphones: headphone | heart | hospital
hourglass | house: home | key | keyboard | laptop | layers | leaf | light bulb: lightbulb, bulb | link | lock: padlock | magnet
magnifying glass: search, magnifier, loupe | map | megaphone | microphone: mic | microscope | moon
paperclip: attachment | pause | pencil | phone: telephone | picture: image | pie chart: chart pie | play | plus | power
printer: print | qr code | question mark: question | rocket | ruler | scissors | shield | shirt: t shirt, tshirt
shopping bag | shopping cart: cart | skull | star | stopwatch | sun | tag | television: tv | terminal | thermometer
thumbs down | thumbs up | ticket | train | trash: trash can, trash bin | tree | trophy | umbrella | upload
user: account | wallet | watch | wifi | wrench`;

const entries = common
  .trim()
  .split(/[|\n]/)
  .map((entry) => {
    const [name, others] = entry.split(':').map((s) => s.trim());
    return { name: name!, others: others ? others.split(', ') : [] };
  });

/** The hundred class names of the default task, sorted. */
export const commonNames: readonly string[] = entries.map((e) => e.name).sort();

/** Every name under which a drawing belongs to the default task, with its class name. */
export const commonByLabel: ReadonlyMap<string, string> = new Map(
  entries.flatMap((e) => [e.name, ...e.others].map((label) => [label, e.name] as const)),
);
