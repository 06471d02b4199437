import assert from 'node:assert/strict';
import { test } from 'node:test';
import { edges, fit, flip, matrix, pan, toCanvas, toImage, turn, upright, zoomAt } from '../src/camera.ts';
import type { Camera, Rotation, Scene } from '../src/camera.ts';
import type { Point } from '../src/geometry.ts';
import { numbers } from './numbers.ts';

const SCENE: Scene = { columns: 300, rows: 200, spacing: [1, 1], width: 800, height: 600 };
const ROTATIONS: readonly Rotation[] = [0, 90, 180, 270];

/** Any camera on any scene. */
function* cases(count: number): Generator<{ camera: Camera; scene: Scene; at: Point }> {
  const next = numbers(7);
  for (let i = 0; i < count; i++) {
    const scene: Scene = {
      columns: 10 + Math.floor(next() * 3000), rows: 10 + Math.floor(next() * 3000),
      spacing: [0.05 + next(), 0.05 + next()], width: 200 + next() * 2000, height: 200 + next() * 2000,
    }; // prettier-ignore
    const camera: Camera = {
      centre: [next() * scene.columns, next() * scene.rows], scale: 0.05 + next() * 30,
      rotation: ROTATIONS[Math.floor(next() * 4)]!, flipH: next() < 0.5, flipV: next() < 0.5,
    }; // prettier-ignore
    yield { camera, scene, at: [next() * scene.columns, next() * scene.rows] };
  }
}

function close(a: Point, b: Point, within = 1e-6): void {
  assert.ok(Math.hypot(a[0] - b[0], a[1] - b[1]) < within, `${a} is not ${b}`);
}

test('a pixel goes to the screen and back, however it is zoomed, turned, flipped and stretched', () => {
  for (const { camera, scene, at } of cases(500)) close(toImage(toCanvas(at, camera, scene), camera, scene), at);
});

test('the picture is drawn where its pixels are said to be', () => {
  for (const { camera, scene, at } of cases(500)) {
    const { a = 0, b = 0, c = 0, d = 0, e = 0, f = 0 } = matrix(camera, scene);
    close([a * at[0] + c * at[1] + e, b * at[0] + d * at[1] + f], toCanvas(at, camera, scene), 1e-5);
  }
});

test('zooming keeps what is under the pointer', () => {
  for (const { camera, scene, at } of cases(200)) {
    const anchor = toCanvas(at, camera, scene);
    close(toCanvas(at, zoomAt(camera, scene, 1.3, anchor), scene), anchor, 1e-5);
  }
});

test('moving goes where the hand goes', () => {
  const camera = { ...upright(SCENE), rotation: 90 as const, flipH: true };
  const [x, y] = toCanvas([100, 90], camera, SCENE);
  close(toCanvas([100, 90], pan(camera, SCENE, 30, -12), SCENE), [x + 30, y - 12]);
});

test('four turns, two flips, and a turn with its opposite change nothing', () => {
  const start = upright(SCENE);
  assert.deepEqual([1, 1, 1, 1].reduce((c: Camera) => turn(c, 1), start), start);
  assert.deepEqual(turn(turn(start, 1), -1), start);
  for (const axis of ['h', 'v'] as const) assert.deepEqual(flip(flip(start, axis), axis), start);
});

test('a flip mirrors what is seen, whichever way the image is turned', () => {
  for (const rotation of ROTATIONS) {
    const camera = fit({ ...upright(SCENE), rotation }, SCENE);
    const [x, y] = toCanvas([40, 70], camera, SCENE);
    close(toCanvas([40, 70], flip(camera, 'h'), SCENE), [SCENE.width - x, y]);
    close(toCanvas([40, 70], flip(camera, 'v'), SCENE), [x, SCENE.height - y]);
  }
});

test('a turn to the right takes what was on top to the right', () => {
  const top = toCanvas([150, 0], turn(upright(SCENE), 1), SCENE);
  assert.ok(top[0] > SCENE.width / 2);
  assert.equal(top[1], SCENE.height / 2);
});

test('fitting shows the whole image, up to the edge, turned and with oblong pixels too', () => {
  for (const { camera, scene } of cases(200)) {
    const fitted = fit(camera, scene);
    const far = [[0, 0], [scene.columns, 0], [scene.columns, scene.rows], [0, scene.rows]]
      .map((corner) => toCanvas(corner as unknown as Point, fitted, scene)); // prettier-ignore
    const xs = far.map(([x]) => x);
    const ys = far.map(([, y]) => y);
    const [width, height] = [Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys)];
    assert.ok(width <= scene.width + 1e-6 && height <= scene.height + 1e-6);
    assert.ok(Math.abs(width - scene.width) < 1e-6 || Math.abs(height - scene.height) < 1e-6);
  }
});

test('millimetres are square on the screen', () => {
  const scene = { ...SCENE, spacing: [0.2, 0.1] as const };
  const camera = upright(scene);
  const [x0, y0] = toCanvas([0, 0], camera, scene);
  const [x1, y1] = toCanvas([20, 10], camera, scene); // 2 mm by 2 mm
  assert.ok(Math.abs(x1 - x0 - (y1 - y0)) < 1e-9);
});

test("the patient's sides follow turns and flips", () => {
  const at = (change: Partial<Camera>): string => {
    const { left, top, right, bottom } = edges(['L', 'F'], { ...upright(SCENE), ...change });
    return left + top + right + bottom;
  };
  assert.equal(at({}), 'RHLF');
  assert.equal(at({ rotation: 90 }), 'FRHL');
  assert.equal(at({ rotation: 180 }), 'LFRH');
  assert.equal(at({ rotation: 270 }), 'HLFR');
  assert.equal(at({ flipH: true }), 'LHRF');
  assert.equal(at({ flipV: true }), 'RFLH');
  assert.equal(at({ flipH: true, rotation: 90 }), 'FLHR');
});

test('a file without an orientation, or with letters that are none, has no sides', () => {
  const none = { left: '', right: '', top: '', bottom: '' };
  for (const said of [null, [], [''], ['X', '<b>'], ['LEFT', 'FOOT']]) {
    assert.deepEqual(edges(said, upright(SCENE)), none);
  }
  assert.equal(edges(['AL', ''], upright(SCENE)).left, 'PR');
});
