/* On the site this is a part of language_data.js; error_search.py tells what it is for. */
var splitQuery = (query) => {
  const text = query
    .replace(/^Traceback .*(?= \S*(Error|Exception)\b)/s, "")
    .replace(ERROR_NUMBER, "$1nr$2");
  const words = text.split(/[^\p{Letter}\p{Number}_]+/u).filter((word) => word);
  const lower = text.toLowerCase().replaceAll("’", "'");
  const says = (one) => (/^nr\d+$/.test(one) ? words.includes(one) : lower.includes(one));
  const names = Object.keys(NAMES).filter((name) => NAMES[name].some(says));
  return [...words, ...names];
};

Search.performTermsSearch = (words) => {
  const { terms, titleterms, docnames, titles, filenames } = Search._index;
  const pagesOf = (table, word) =>
    Object.hasOwn(table, word) ? [table[word]].flat() : [];

  const sizes = docnames.map(() => 1);
  for (const word of Object.keys(terms))
    for (const page of pagesOf(terms, word)) sizes[page] += 1;

  // The rarer a word, the more it tells; the name of the error tells the most.
  const worth = new Map();
  const scores = new Map();
  for (const word of words) {
    let alike = [word];
    // A word by itself may be the beginning of one.
    if (words.size === 1 && !Object.hasOwn(terms, word))
      alike = Object.keys(terms).filter((one) => one.startsWith(word));
    const titled = new Set(alike.flatMap((one) => pagesOf(titleterms, one)));
    const texts = alike.flatMap((one) => pagesOf(terms, one));
    const pages = new Set([...titled, ...texts]);
    if (!pages.size) continue;
    const rarity = Math.log((1 + docnames.length) / pages.size);
    worth.set(word, rarity * (Object.hasOwn(NAMES, word) ? 6 : 1));
    for (const page of pages) {
      const more = worth.get(word) * (titled.has(page) ? 1.1 : 1);
      scores.set(page, (scores.get(page) ?? 0) + more);
    }
  }

  // What the table names counts too, for an error the most; its upper rows and the first
  // causes of a row are the frequent ones.
  const named = new Map();
  ROWS.forEach(([rowWords, rowPages], row) => {
    const score = rowWords.reduce((sum, word) => sum + (worth.get(word) ?? 0), 0);
    [...rowPages, "causes/index"].forEach((name, place) => {
      const less = 1 / (1 + 0.12 * place + 0.008 * row);
      named.set(name, Math.max(named.get(name) ?? 0, score * less));
    });
  });
  const isError = words.size > 2 || [...words].some((word) => Object.hasOwn(NAMES, word));
  docnames.forEach((name, page) => {
    const both = (scores.get(page) ?? 0) + (isError ? 3 : 1) * (named.get(name) ?? 0);
    // Of pages that are alike in this the shorter one.
    if (both) scores.set(page, both * (1 - 0.03 * Math.log(sizes[page])));
  });

  const best = Math.max(...scores.values());
  return [...scores]
    .filter(([, score]) => score > best / 2)
    .map(([page, score]) => [
      docnames[page],
      titles[page],
      "",
      null,
      (30 * score) / best,
      filenames[page],
      SearchResultKind.text,
    ]);
};
