// Package node is the appliance: one table of options, the wiring of stores,
// command log, scheduler, services and local workers, and the order in which
// they start and stop. See DESIGN.md.
package node
