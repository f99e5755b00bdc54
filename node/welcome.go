package node

import (
	"fmt"
	"strings"
)

// Welcome returns the lines to paste that connect each client.
func (n *Node) Welcome() string {
	var b strings.Builder
	address := n.grpc.Addr().String()
	fmt.Fprintf(&b, "bgrid-node serves instance %q on %s", n.config.Instance, address)
	if n.http != nil {
		fmt.Fprintf(&b, ", pages on http://%s", dialable(n.http.Addr().String()))
	}
	b.WriteString("\n")
	for _, c := range clients {
		fmt.Fprintf(&b, "\n# %s: %s\n%s", c.name, c.where, c.lines(dialable(address), n.config.Instance))
	}
	b.WriteString("\n")
	return b.String()
}
