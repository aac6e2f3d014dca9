// The frames of `/ws/terminal`: `[kind u8][protobuf message]` for kind 0, `[kind u8][position u64 BE][bytes]` for the others.
// terminal.proto says what each kind means.
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { type FromGateway, FromGatewaySchema, FromViewerSchema } from "../generated/adit/terminal/v1/terminal_pb";

export const MESSAGE = 0;
export const OUTPUT = 1;
export const INPUT = 2;
export const STDERR = 3;

export const MAX_INPUT_BYTES = 16 * 1024; // decision 9 of the protocol: a gateway closes on more
export const MAX_OUTPUT_BYTES = 32 * 1024;
export const MAX_FRAME_BYTES = 64 * 1024;
const DATA_HEADER_BYTES = 9;

export interface DataFrame {
  kind: typeof OUTPUT | typeof INPUT | typeof STDERR;
  position: number;
  bytes: Uint8Array;
}

export type Frame = { kind: typeof MESSAGE; message: Uint8Array } | DataFrame;

/** A frame that breaks the protocol; the connection can't go on. */
export class FrameError extends Error {}

export function encodeFrame(frame: Frame): Uint8Array<ArrayBuffer> {
  if (frame.kind === MESSAGE) {
    const out = new Uint8Array(1 + frame.message.length);
    out.set(frame.message, 1);
    return out;
  }
  const out = new Uint8Array(DATA_HEADER_BYTES + frame.bytes.length);
  out[0] = frame.kind;
  new DataView(out.buffer).setBigUint64(1, BigInt(frame.position));
  out.set(frame.bytes, DATA_HEADER_BYTES);
  return out;
}

export function decodeFrame(bytes: Uint8Array): Frame {
  const kind = bytes[0];
  if (bytes.length > MAX_FRAME_BYTES) throw new FrameError("frame over the cap");
  if (kind === MESSAGE) return { kind, message: bytes.subarray(1) };
  if (kind !== OUTPUT && kind !== INPUT && kind !== STDERR) throw new FrameError(`frame of unknown kind ${kind}`);
  if (bytes.length < DATA_HEADER_BYTES) throw new FrameError("data frame without a position");
  const limit = kind === INPUT ? MAX_INPUT_BYTES : MAX_OUTPUT_BYTES;
  if (bytes.length - DATA_HEADER_BYTES > limit) throw new FrameError("data frame over its limit");
  const position = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(1);
  if (position > BigInt(Number.MAX_SAFE_INTEGER)) throw new FrameError("position past what a session can reach");
  return { kind, position: Number(position), bytes: bytes.subarray(DATA_HEADER_BYTES) };
}

export type ViewerMessage = Exclude<MessageInitShape<typeof FromViewerSchema>["message"], undefined>;

export function encodeMessage(message: ViewerMessage): Uint8Array<ArrayBuffer> {
  return encodeFrame({ kind: MESSAGE, message: toBinary(FromViewerSchema, create(FromViewerSchema, { message })) });
}

export function decodeMessage(message: Uint8Array): FromGateway["message"] {
  return fromBinary(FromGatewaySchema, message).message;
}
