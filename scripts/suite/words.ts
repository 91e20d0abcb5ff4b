/** Everyday words that the suite's tasks and the pretraining text share. */

export const names = (
  'Anna Ben Clara David Ella Frank Grace Henry Ivy Jack Kate Leo Mary Nora Oscar Paul Rose Sam Tom Walter ' +
  'Alice Bruno Daisy Emma Felix George Helen Hugo Jane Karl Lucy Martin Olive Peter Ruth Simon Susan Victor'
).split(' ');

export const months = 'January February March April May June July August September October November December'.split(
  ' ',
);

/** Kinds of things and their members. The order of the kinds is fixed: the shelf task maps it to letters. */
export const kinds: Record<string, string[]> = {
  fish: 'trout salmon eel carp herring perch pike cod tuna sardine plaice mackerel'.split(' '),
  tool: 'hammer saw drill chisel wrench pliers file spade rake axe screwdriver shovel'.split(' '),
  fruit: 'apple pear plum cherry peach grape lemon orange melon fig apricot banana'.split(' '),
  bird: 'robin crow sparrow eagle owl swan hawk lark finch dove stork raven'.split(' '),
  garment: 'coat shirt scarf glove hat boot sock belt cloak jacket shawl apron'.split(' '),
  instrument: 'violin flute drum trumpet harp piano guitar horn cello organ fiddle oboe'.split(' '),
  metal: 'iron copper silver gold tin lead zinc nickel brass bronze steel mercury'.split(' '),
  vehicle: 'cart wagon carriage ship train truck bicycle sledge canoe tram ferry coach'.split(' '),
};

export const plurals: Record<string, string> = {
  fish: 'fish',
  tool: 'tools',
  fruit: 'fruits',
  bird: 'birds',
  garment: 'garments',
  instrument: 'instruments',
  metal: 'metals',
  vehicle: 'vehicles',
};

export const foods =
  'soup bread cheese tea coffee rice fish beans eggs milk butter honey pie cake salad ham toast jam porridge stew'.split(
    ' ',
  );

export const plants =
  'rose oak fern lily ivy tulip pine maple daisy moss elm birch willow holly clover poppy thistle cedar violet ash'.split(
    ' ',
  );

export const nouns = (
  'river stone window garden candle bottle mountain forest table letter basket mirror ladder pillow kettle bridge ' +
  'island castle market tower barrel blanket button carpet chimney curtain feather hammer lantern needle orchard ' +
  'pocket ribbon saddle shadow ticket valley wagon whistle anchor'
).split(' ');

export const goods =
  'apples books boxes candles chairs coins cups eggs hats lamps nails pens pies plates ropes sacks shoes spoons tins'.split(
    ' ',
  );

export const praise =
  'wonderful delightful excellent charming splendid lovely perfect superb beautiful pleasant brilliant marvellous'.split(
    ' ',
  );

export const blame =
  'dreadful terrible awful horrid miserable dull ugly shabby disgusting wretched tiresome disappointing'.split(' ');

/** "3 things": the count, then the noun. */
export function list(words: readonly string[]): string {
  return words.join(', ');
}

/** "a, b and c" */
export function sentenceList(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words[words.length - 1]}`;
}
