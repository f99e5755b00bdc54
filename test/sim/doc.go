// Package sim runs whole clusters in one process and in virtual time: real
// stores, the real Raft and scheduler and Bots service, over a network of its own
// that loses, delays and cuts; with workers and clients that keep score. A seed
// decides the faults. What must hold is said by raftfsm/invariants, and by the
// scores. See DESIGN.md.
package sim
