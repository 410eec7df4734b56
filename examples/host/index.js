/**
 * A small HTTP framework with exactly the shape of a NextRush v2 application, as a plugin meets
 * it, surprises included. The examples and the tests run on it; an application of yours runs on
 * NextRush itself.
 */

export { Application, createApp } from './application.js';
