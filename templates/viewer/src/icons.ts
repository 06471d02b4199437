/** Outlines on a 24 × 24 grid, one path each, drawn for this page. */
export const ICONS = {
  window: 'M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16',
  pan: 'M12 3v18M3 12h18M9 6l3-3 3 3M9 18l3 3 3-3M6 9l-3 3 3 3M18 9l3 3-3 3',
  zoom: 'M16.5 10.5a6 6 0 1 1-12 0 6 6 0 0 1 12 0zM15 15l5.5 5.5M8 10.5h5M10.5 8v5',
  rectangle: 'M4 6h16v12H4z',
  ellipse: 'M21 12c0 3.6-4 6.5-9 6.5S3 15.6 3 12s4-6.5 9-6.5 9 2.9 9 6.5z',
  polygon: 'M12 3.5l8.5 6.5-3 10h-11l-3-10z',
  invert: 'M4 4h16v16H4zM4 20L20 4M13 16h4M9 6v4M7 8h4',
  reset: 'M5 12a7 7 0 1 0 2.2-5.1M5 4v4h4',
  comment: 'M4 5h16v11H10l-4 4v-4H4z',
  chevron: 'M7 10l5 5 5-5',
  eye: 'M2.5 12c2.6-4.4 5.8-6.6 9.5-6.6s6.9 2.2 9.5 6.6c-2.6 4.4-5.8 6.6-9.5 6.6S5.1 16.4 2.5 12zM15 12a3 3 0 1 1-6 0 3 3 0 0 1 6 0z',
  cross: 'M6.5 6.5l11 11M17.5 6.5l-11 11',
  length: 'M4 20L20 4M3 15l6 6M15 3l6 6',
  point: 'M12 4v6M12 14v6M4 12h6M14 12h6',
} as const;
