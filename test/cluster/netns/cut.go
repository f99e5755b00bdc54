package netns

import (
	"context"
	"fmt"
)

// rules are those of each host: what comes from an address of the set from, or
// goes to one of the set to, is dropped, in connections that are there as in new
// ones. What a host sends to itself never is.
const rules = `table inet cut {
	set from { type ipv4_addr; flags interval; auto-merge; }
	set to { type ipv4_addr; flags interval; auto-merge; }
	chain in { type filter hook input priority 0; iif lo accept; ip saddr @from drop; }
	chain out { type filter hook output priority 0; oif lo accept; ip daddr @to drop; }
}`

// Cut drops what the host sends to others, in this direction only: the others'
// packets still arrive.
func (h *Host) Cut(ctx context.Context, others ...*Host) error {
	for _, o := range others {
		if err := h.drop(ctx, "to", o.Address); err != nil {
			return err
		}
	}
	return nil
}

// CutBoth drops everything between the host and others.
func (h *Host) CutBoth(ctx context.Context, others ...*Host) error {
	for _, o := range others {
		if err := h.drop(ctx, "from", o.Address); err != nil {
			return err
		}
	}
	return h.Cut(ctx, others...)
}

// Isolate drops everything that the host sends or gets.
func (h *Host) Isolate(ctx context.Context) error {
	if err := h.drop(ctx, "from", subnet+"0/24"); err != nil {
		return err
	}
	return h.drop(ctx, "to", subnet+"0/24")
}

// Heal takes back what Cut, CutBoth and Isolate of this host did.
func (h *Host) Heal(ctx context.Context) error {
	return h.nft(ctx, "flush set inet cut from\nflush set inet cut to")
}

func (h *Host) drop(ctx context.Context, set, address string) error {
	return h.nft(ctx, fmt.Sprintf("add element inet cut %s { %s }", set, address))
}

// nft runs commands of nft on the host.
func (h *Host) nft(ctx context.Context, commands string) error {
	path, err := tool("nft")
	if err != nil {
		return err
	}
	exec := h.Exec()
	return run(ctx, exec[0], append(exec[1:], path, "-f", "-"), commands)
}
