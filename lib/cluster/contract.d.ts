import type { WSClusterAdapter, WSClusterOptions } from '../../index.js';

/** What is known of a node that the contract wants. */
export interface ContractNodeOptions {
  /**
   * The prefix of its channels: nodes with the same one are to hear each other, and no others. Letters,
   * digits and `-`.
   */
  prefix: string;
}

/** A server that the contract speaks to. */
export interface ContractNode {
  /** Where it listens, on 127.0.0.1. */
  port: number;
  /** Ends it. */
  close(): Promise<void>;
}

/** What {@link clusterContract} is told: `cluster`, or `start`. */
export interface ClusterContractOptions {
  /**
   * Registers a test: that of vitest, jest or `node:test`, or whatever calls it. A test may take ten
   * seconds, which is more than some runners allow by themselves.
   */
  test(name: string, run: () => Promise<void>): unknown;
  /** Returns option `cluster` of one node, another one with each call. All run in this process. */
  cluster?:
    | ((
        node: ContractNodeOptions,
      ) => WSClusterOptions | WSClusterAdapter | Promise<WSClusterOptions | WSClusterAdapter>)
    | undefined;
  /**
   * In the place of `cluster`, where nodes have to run in other processes: has one of them call
   * {@link startContractNode}, and returns what it needs.
   */
  start?: ((node: ContractNodeOptions) => Promise<ContractNode>) | undefined;
  /**
   * Takes the way between the nodes away, calls `meanwhile`, and gives it back once that has resolved.
   * Without it, one test is left out.
   */
  interrupt?: ((meanwhile: () => Promise<void>) => Promise<void>) | undefined;
  /**
   * How long a test waits for something that does not come, in milliseconds.
   *
   * @default 20000
   */
  limitMs?: number | undefined;
}

/**
 * Registers tests of what has to hold whatever carries messages between servers. Each starts two to
 * four servers of this package, and speaks to them by WebSockets.
 *
 * @throws {TypeError} for an option that is none.
 *
 * @example
 * import { test } from 'node:test';
 * import { clusterContract } from 'nextrush-websocket/cluster-contract';
 *
 * clusterContract({ test, cluster: ({ prefix }) => myAdapter({ prefix }) });
 */
export function clusterContract(options: ClusterContractOptions): void;

/** Starts one of the servers that the contract speaks to, in this process. */
export function startContractNode(options: {
  cluster: WSClusterOptions | WSClusterAdapter;
}): Promise<ContractNode>;
