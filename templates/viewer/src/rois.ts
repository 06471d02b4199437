/**
 * Tools on the image: window, pan, zoom, and regions bound to a finding.
 */

import * as core from '@cornerstonejs/core';
import * as tools from '@cornerstonejs/tools';
import type { Drawn, RoiType } from './annotation.ts';
import { handlesOf } from './regions.ts';
import type { Point, Vector } from './geometry.ts';
import { ENGINE, VIEWPORT } from './image.ts';
import type { Radiograph } from './image.ts';

export type Tool = 'window' | 'pan' | 'zoom' | RoiType;

const GROUP = 'cxr-tools';
const { MouseBindings, Events } = tools.Enums;

/** Our tool to Cornerstone's. */
const NAMES: Readonly<Record<Tool, string>> = {
  window: 'CxrWindow',
  pan: 'CxrPan',
  zoom: 'CxrZoom',
  rectangle: tools.RectangleROITool.toolName,
  ellipse: tools.EllipticalROITool.toolName,
  polygon: tools.SplineROITool.toolName,
};
const ROI_TOOLS: readonly RoiType[] = ['rectangle', 'ellipse', 'polygon'];

interface DragEvent {
  readonly detail: {
    readonly deltaPoints: { readonly canvas: Point };
    readonly startPoints: { readonly canvas: Point };
  };
}

/** What the page does about regions. */
export interface RoiEvents {
  /** a region was finished; it has no finding yet */
  completed(id: string): void;
  /** a region was moved, reshaped, selected or removed */
  changed(): void;
}

export class Rois {
  readonly #radiograph: Radiograph;
  readonly #labels = new Map<string, string>();
  readonly #hidden = new Set<string>();
  readonly #events: RoiEvents;
  #tool: Tool = 'window';
  #cancelling = false;
  #booted = false;

  constructor(radiograph: Radiograph, events: RoiEvents) {
    this.#radiograph = radiograph;
    this.#events = events;
  }

  /** Once, after `Radiograph.boot`. */
  boot(): void {
    const group = tools.ToolGroupManager.createToolGroup(GROUP);
    if (!group) throw new Error('the tool group exists already');
    for (const tool of dragTools(this.#radiograph)) {
      tools.addTool(tool);
      group.addTool(tool.toolName);
    }
    // Cornerstone's areas and lengths are wrong for CR (pixels called mm): no text of its own
    const silent = { calculateStats: false, getTextLines: () => [] };
    tools.addTool(tools.RectangleROITool);
    tools.addTool(tools.EllipticalROITool);
    tools.addTool(tools.SplineROITool);
    group.addTool(NAMES.rectangle, silent);
    group.addTool(NAMES.ellipse, silent);
    group.addTool(NAMES.polygon, {
      ...silent,
      spline: { type: tools.SplineROITool.SplineTypes.Linear, enableTwoPointPreview: true },
    });
    group.addViewport(VIEWPORT, ENGINE);
    for (const type of ROI_TOOLS) group.setToolPassive(NAMES[type]);
    group.setToolActive(NAMES.pan, { bindings: [{ mouseButton: MouseBindings.Auxiliary }] });
    group.setToolActive(NAMES.zoom, { bindings: [{ mouseButton: MouseBindings.Secondary }] });
    this.#booted = true;
    this.use('window');
    this.#listen();
  }

  get tool(): Tool {
    return this.#tool;
  }

  /** Give the left mouse button to a tool; middle always pans, right always zooms. */
  use(tool: Tool): void {
    if (!this.#booted) return;
    const group = this.#group();
    this.cancel();
    const always = { pan: MouseBindings.Auxiliary, zoom: MouseBindings.Secondary } as const;
    const left = { mouseButton: MouseBindings.Primary };
    group.setToolPassive(NAMES[this.#tool], { removeAllBindings: true });
    for (const [name, mouseButton] of Object.entries(always)) {
      group.setToolActive(NAMES[name as 'pan' | 'zoom'], { bindings: [{ mouseButton }] });
    }
    group.setToolActive(NAMES[tool], { bindings: [left] });
    this.#tool = tool;
  }

  /** Whether a region is begun and not finished. */
  get drawing(): boolean {
    const group = this.#group();
    return ROI_TOOLS.some((type) => group.getToolInstance(NAMES[type])?.isDrawing === true);
  }

  /** Drop what is being drawn; true if there was something. */
  cancel(): boolean {
    const { element } = this.#radiograph;
    this.#cancelling = true;
    const id = tools.cancelActiveManipulations(element);
    this.#cancelling = false;
    if (!id) return false;
    // Cornerstone keeps a half-drawn rectangle or ellipse as if it were finished
    if (!this.#labels.has(id)) this.#remove(id);
    return true;
  }

  /** The regions bound to a finding, in the order drawn. */
  drawn(): Drawn[] {
    return [...this.#labels.keys()].flatMap((id) => this.read(id) ?? []);
  }

  /** One region, bound or not; null if it is gone. */
  read(id: string): Drawn | null {
    const annotation = tools.annotation.state.getAnnotation(id);
    const type = ROI_TOOLS.find((tool) => NAMES[tool] === annotation?.metadata?.toolName);
    if (!annotation || !type) return null;
    const world = (annotation.data.handles?.points ?? []) as readonly Vector[];
    const points = world.map((point) => this.#radiograph.toPixel(point));
    return { id, type, label: this.#labels.get(id) ?? '', points };
  }

  bind(id: string, label: string): void {
    this.#labels.set(id, label);
    this.#events.changed();
  }

  remove(id: string): void {
    this.#labels.delete(id);
    this.#remove(id);
    this.#events.changed();
  }

  /** Put one more region on the image; gives its id. */
  add(roi: Omit<Drawn, 'id'>): string {
    const id = core.utilities.uuidv4();
    this.#place({ ...roi, id });
    this.#events.changed();
    return id;
  }

  /** Regions that stay but are not seen; ids of regions that are gone do no harm. */
  get hidden(): ReadonlySet<string> {
    return this.#hidden;
  }

  /** Let one region be seen, or not. */
  show(id: string, visible: boolean): void {
    if (visible) this.#hidden.delete(id);
    else this.#hidden.add(id);
    if (!visible) tools.annotation.selection.setAnnotationSelected(id, false);
    tools.annotation.visibility.setAnnotationVisibility(id, visible);
    this.#events.changed();
  }

  /** Take every region off the image. */
  clear(): void {
    if (!this.#booted) return;
    this.cancel();
    this.#labels.clear();
    tools.annotation.selection.deselectAnnotation();
    tools.annotation.state.removeAllAnnotations();
  }

  /** Put regions on the image in the place of those there; they can be edited like any other. */
  restore(drawn: readonly Drawn[]): void {
    this.clear();
    for (const roi of drawn) this.#place(roi);
    this.#events.changed();
  }

  #place(roi: Drawn): void {
    const { element, viewport } = this.#radiograph;
    const points = handlesOf(roi).map((point) => [...this.#radiograph.toWorld(point)]);
    const metadata = { ...viewport.getViewReference(), toolName: NAMES[roi.type] };
    const isVisible = !this.#hidden.has(roi.id);
    const made = { annotationUID: roi.id, highlighted: false, isLocked: false, isVisible };
    const data = { label: '', cachedStats: {}, handles: handlesData(points), ...SHAPE[roi.type]() };
    this.#labels.set(roi.id, roi.label);
    tools.annotation.state.addAnnotation(
      { ...made, invalidated: true, metadata, data } as unknown as tools.Types.Annotation,
      element,
    );
  }

  get selected(): string | null {
    const [id] = tools.annotation.selection.getAnnotationsSelected();
    return id !== undefined && this.#labels.has(id) ? id : null;
  }

  select(id: string | null): void {
    if (id !== null && this.#hidden.has(id)) this.show(id, true);
    const { selection } = tools.annotation;
    for (const other of selection.getAnnotationsSelected()) {
      selection.setAnnotationSelected(other, false);
    }
    if (id !== null) selection.setAnnotationSelected(id, true);
    this.#radiograph.viewport.render();
  }

  paint(id: string, color: string): void {
    tools.annotation.config.style.setAnnotationStyles(id, {
      color,
      colorHighlighted: '#ffffff',
      colorSelected: '#ffffff',
      lineWidth: '2',
      shadow: false,
    });
  }

  #remove(id: string): void {
    if (!tools.annotation.state.getAnnotation(id)) return; // a cancelled polygon is gone already
    tools.annotation.selection.setAnnotationSelected(id, false);
    tools.annotation.state.removeAnnotation(id);
    this.#radiograph.viewport.render();
  }

  #group(): NonNullable<ReturnType<typeof tools.ToolGroupManager.getToolGroup>> {
    const group = tools.ToolGroupManager.getToolGroup(GROUP);
    if (!group) throw new Error('the tools have not started');
    return group;
  }

  #listen(): void {
    const on = (name: string, act: (id: string) => void): void => {
      core.eventTarget.addEventListener(name, ((event: CustomEvent) => {
        const { annotation } = event.detail as { annotation?: { annotationUID?: string } };
        act(annotation?.annotationUID ?? '');
      }) as EventListener);
    };
    on(Events.ANNOTATION_COMPLETED, (id) => {
      if (!this.#cancelling && !this.#labels.has(id)) this.#events.completed(id);
    });
    on(Events.ANNOTATION_MODIFIED, () => this.#events.changed());
    on(Events.ANNOTATION_SELECTION_CHANGE, () => this.#events.changed());
  }
}

/** What Cornerstone keeps of a shape beside its handles. */
const SHAPE: Readonly<Record<RoiType, () => object>> = {
  rectangle: () => ({}),
  ellipse: () => ({}),
  polygon: () => ({
    contour: { polyline: [], closed: true },
    spline: { type: tools.SplineROITool.SplineTypes.Linear, instance: null, resolution: 0 },
  }),
};

function handlesData(points: readonly (readonly number[])[]): object {
  const [topLeft, topRight, bottomLeft, bottomRight] = Array.from({ length: 4 }, () => [0, 0, 0]);
  const worldBoundingBox = { topLeft, topRight, bottomLeft, bottomRight };
  return {
    points,
    activeHandleIndex: null,
    textBox: { hasMoved: false, worldPosition: [0, 0, 0], worldBoundingBox },
  };
}

/** Cornerstone's own pan, zoom and window tools, on our camera and window. */
function dragTools(radiograph: Radiograph): { new (): tools.BaseTool; toolName: string }[] {
  const drag = (toolName: string, act: (delta: Point, start: Point) => void) =>
    class extends tools.BaseTool {
      static override toolName = toolName;

      constructor(
        toolProps = {},
        defaults = { supportedInteractionTypes: ['Mouse', 'Touch'] as ('Mouse' | 'Touch')[] },
      ) {
        super(toolProps, defaults as ConstructorParameters<typeof tools.BaseTool>[1]);
      }

      mouseDragCallback(event: DragEvent): void {
        const { deltaPoints, startPoints } = event.detail;
        act(deltaPoints.canvas, startPoints.canvas);
      }

      touchDragCallback(event: DragEvent): void {
        this.mouseDragCallback(event);
      }
    };
  return [
    drag(NAMES.window, (delta) => radiograph.dragWindow(delta[0], delta[1])),
    drag(NAMES.pan, (delta) => radiograph.pan(delta[0], delta[1])),
    drag(NAMES.zoom, (delta, start) => radiograph.zoom(Math.exp(-delta[1] / 150), start)),
  ];
}
