// Package client talks plain Remote Execution API (v2) to any server: for the
// command line, for remote workers, for transfer between nodes, and for tests.
//
// A Client holds one lazily dialled connection. Calls that only read or that may
// be repeated are retried while the server is away; uploads and downloads resume
// where they broke off; content is verified against its digest on arrival.
// Memory is bounded by the number of transfers at a time, never by the size of a
// blob: whole blobs are held only up to a batch's limit.
//
// DESIGN.md has the decisions.
package client
