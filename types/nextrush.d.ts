/** The framework's own types where NextRush is installed, and those of `host.d.ts` where it is not. */

// @ts-ignore: NextRush is an optional peer dependency. Without it, both are `any`.
import type { Application as NextRushApplication, Context as NextRushContext } from 'nextrush';
import type * as host from './host.js';

/**
 * What is known of a type that may not be there: itself, unless it is `any` or unlike `Least`. In a
 * tuple, as what could not be resolved would make all of the condition `any`.
 */
type Resolved<Type, Least, Otherwise> = [0] extends [1 & Type]
  ? Otherwise
  : Type extends Least
    ? Type
    : Otherwise;

/** NextRush's `Application` where NextRush is installed, and otherwise what the plugin meets of it. */
export type Application = Resolved<NextRushApplication, host.HostApplication, host.Application>;

/** NextRush's `Context` where NextRush is installed, and otherwise what the plugin meets of it. */
export type Context = Resolved<NextRushContext, { req: object; res: object }, host.Context>;

/** The request of a {@link Context}. */
export type ContextRequest = Context['req'];

/** The response of a {@link Context}. */
export type ContextResponse = Context['res'];
