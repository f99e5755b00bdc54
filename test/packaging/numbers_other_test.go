//go:build !amd64

package packaging

var numbers map[string]uint32
