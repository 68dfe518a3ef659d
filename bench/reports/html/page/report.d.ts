// What data.js and data/*.js hold; checked by `nox -s page`, no part of the page.

/** A number, "inf", "-inf", why there is none, or null where none was asked for. */
type Score = number | string | null;
/** Folder, picture and thumbnail; why there is no picture; null where there should be none. */
type Source = [folder: string, file: string, thumb: string] | string | null;
/** Sources are LR, HR and the methods; scores are by method, then by metric with scores per image. */
type Row = [
  dataset: number, name: string, scale: number, size: [number, number],
  sources: Source[], scores: Score[][],
];
type Metric = { name: string; title: string; lower: boolean; digits: number };
type Column = Metric & { image: number | null };
type Cell = [
  mean: Score, low: number | null, high: number | null, n: number | null,
  rank: number | null, rankLow: number | null, rankHigh: number | null, best: number | null,
];
type Verdict = "better" | "worse" | "not told apart" | "too few images" | "no test";
/** By names; p after Holm's correction. */
type Pair = [dataset: string, metric: string, a: string, b: string, p: number | null, verdict: Verdict];

declare const REPORT: {
  originals: boolean;
  names: { datasets: string[]; methods: string[] };
  datasets: string[];
  methods: string[];
  metrics: Metric[];
  columns: Column[];
  cells: Cell[];
  pairs: Pair[];
  /** 95 % of the mean rank over all columns, by dataset and method. */
  meanRanks: ([low: number, high: number] | null)[][];
  parts: Row[][];
};

/** Images to be shown; `other` is what a scatter plot has across. */
type ImageSelection = {
  rows: Row[]; method: number; metric: number; other: { method: number; metric: number };
  open: (place: number) => void;
};
type Picture = { name: string; url?: string; reason?: string };
type PaneKind = "plain" | "divider" | "flicker" | "difference";
type PaneSpec = { label: string; kind: PaneKind; pictures: Picture[]; caption?: HTMLElement };
type Pane = {
  figure: HTMLElement; view: HTMLElement; layers: HTMLElement[]; kind: PaneKind;
  handle?: HTMLElement; lens: HTMLElement; lensLayers: HTMLElement[];
};
