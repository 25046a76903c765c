import type { Reply, Request } from './requests.js';
import { slotOf } from './slots.js';

/** A request, or the part of one that is for one slot; where it goes, and what came of it. */
export interface Piece {
  readonly request: Request;
  readonly slot: number;
  /** Where the map is wrong, and the cluster said so: `host:port`. */
  target?: string;
  asking?: boolean;
  reply?: Reply;
}

/** Of a request without keys the one that it is to be near; else the first argument, which is one. */
const keyOf = ({ near, args }: Request): string => near ?? String(args[0]);

const piece = (request: Request): Piece => ({ request, slot: slotOf(keyOf(request)) });

/**
 * The requests of one call, as a cluster takes them: no command may be about two slots
 * (redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec, "Implemented subset"). So an MGET becomes one for
 * each slot; its answers are put together again.
 */
export class ClusterCall {
  private readonly parts: readonly Part[];

  constructor(requests: readonly Request[]) {
    this.parts = requests.map((request) =>
      request.run === 'MGET' && request.args.length > 1 ? new MultiGet(request) : new Single(piece(request)),
    );
  }

  get pieces(): Piece[] {
    return this.parts.flatMap(({ pieces }) => pieces);
  }

  get replies(): Reply[] {
    return this.parts.map((part) => part.reply);
  }
}

interface Part {
  readonly pieces: readonly Piece[];
  readonly reply: Reply;
}

class Single implements Part {
  readonly pieces: readonly [Piece];
  constructor(only: Piece) {
    this.pieces = [only];
  }
  get reply(): Reply {
    return this.pieces[0].reply ?? UNANSWERED;
  }
}

class MultiGet implements Part {
  readonly pieces: readonly Piece[];
  private readonly places: readonly (readonly number[])[];

  constructor({ args, ...rest }: Request) {
    const bySlot = Map.groupBy(args.keys(), (index) => slotOf(String(args[index])));
    this.places = [...bySlot.values()];
    this.pieces = this.places.map((indices) =>
      piece({ ...rest, args: indices.flatMap((index) => args[index] ?? []) }),
    );
  }

  get reply(): Reply {
    const values: unknown[] = [];
    for (const [index, { reply = UNANSWERED }] of this.pieces.entries()) {
      if (reply[0] !== null) return reply;
      for (const [nth, place] of (this.places[index] ?? []).entries()) {
        values[place] = (reply[1] as unknown[])[nth];
      }
    }
    return [null, values];
  }
}

const UNANSWERED: Reply = [new Error('a reply is missing')];
