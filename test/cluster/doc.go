// Package cluster runs a grid of several nodes as processes, each in a network
// namespace of its own, breaks one thing after another, and lets clients keep
// score: what was acknowledged must hold, whatever happens to one node at a time.
//
// Clients note what they ask and what they are told, with times. Afterwards
// porcupine looks for an order of events that explains it: the action cache must
// be a register for each key, and an operation may only move forward. See
// docs/ARCHITECTURE.md, Guarantees.
package cluster
