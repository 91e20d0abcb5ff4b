/** DBpedia topics: first sentences of encyclopedia articles and the class of the thing they describe. */
import { readFileSync } from 'node:fs';
import { createRandom } from '../../src/core/random.js';
import { choose, type Item, type Task } from './types.js';

/** Class in the source -> the one-word label of the suite. Classes left out are pretraining prose only. */
export const topics: Record<string, string> = {
  Company: 'company',
  'Educational Institution': 'school',
  Artist: 'artist',
  Athlete: 'athlete',
  Village: 'village',
  Animal: 'animal',
  Plant: 'plant',
  Album: 'album',
  Film: 'film',
  Building: 'building',
};

export interface Article {
  topic: string;
  sentence: string;
}

/** First sentences of 6 to 24 plain-ASCII words, without what stood in brackets. */
export function readArticles(path: string): Article[] {
  const records = JSON.parse(readFileSync(path, 'utf8')) as Array<{ label: string; sentence: string }>;
  const articles: Article[] = [];
  const seen = new Set<string>();
  for (const { label, sentence } of records) {
    const text = sentence
      .replace(/^[\s\S]*?Text:\s*/, '')
      .replace(/\s*\([^()]*\)/g, '')
      .replace(/\s+/g, ' ')
      .trim();
    const first = /^(.*?[a-z0-9]{2}\.)(?= ?[A-Z]|$)/.exec(text)?.[1];
    const words = first?.split(' ').length ?? 0;
    if (!first || words < 6 || words > 24 || !/^[\x20-\x7e]+$/.test(first) || seen.has(first)) continue;
    seen.add(first);
    articles.push({ topic: label, sentence: first });
  }
  return articles;
}

export function dbpediaTask(path: string): Task {
  const labels = Object.values(topics);
  const queue = createRandom(1901, 'dbpedia order').shuffle(readArticles(path).filter(({ topic }) => topics[topic]));
  return {
    name: 'dbpedia-topic',
    kind: 'multiple_choice',
    description: 'The first sentence of an encyclopedia article; what kind of thing it describes',
    licence: 'DBpedia (CC BY-SA 3.0)',
    make(): Item | null {
      const article = queue.pop();
      if (!article) return null;
      return choose(`Article: ${article.sentence} Topic:`, labels, labels.indexOf(topics[article.topic]!));
    },
  };
}
