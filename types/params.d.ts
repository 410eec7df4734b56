/** What the path of a route names. */

/**
 * The type of {@link WSSocket.params} for a path: `{ room: string }` for `'/chat/:room'`, and
 * `{ '*': string }` for `'/files/*'`. A path that is not known before the program runs may name
 * anything.
 */
export type WSParams<Path extends string> =
  IsLiteral<Path> extends true ? { [Name in NamesOf<Path>]: string } : Record<string, string>;

/** Whether all of a text is known: neither `string` nor a template with a `string` in it. */
type IsLiteral<Text extends string> =
  Record<never, never> extends Record<Text, never> ? false : true;

type NamesOf<Path extends string> = Path extends `${infer Segment}/${infer Rest}`
  ? NameOf<Segment> | NamesOf<Rest>
  : NameOf<Path>;

type NameOf<Segment extends string> = Segment extends `:${infer Name}`
  ? Name
  : Segment extends '*'
    ? '*'
    : never;
