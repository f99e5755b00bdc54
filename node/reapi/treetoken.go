package reapi

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// A page token of GetTree says how many directories of which root were sent. It
// needs no memory here, and holds on every node: the walk is repeated up to that
// point.
//
//	version 1 | first bytes of the root's hash 8 | directories, uvarint
const (
	treeTokenVersion = 1
	treeTokenRoot    = 8
)

func treeToken(root digest.Digest, sent int64) string {
	b := append([]byte{treeTokenVersion}, root.Hash[:treeTokenRoot]...)
	b = binary.AppendUvarint(b, uint64(sent))
	return base64.RawURLEncoding.EncodeToString(b)
}

// parseTreeToken returns how many directories to skip.
func parseTreeToken(token string, root digest.Digest) (int64, error) {
	if token == "" {
		return 0, nil
	}
	const most = 64
	bad := invalidField("page_token", "is not the next_page_token of an earlier answer for this root")
	if len(token) > most {
		return 0, bad
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil || len(b) <= 1+treeTokenRoot || b[0] != treeTokenVersion || !bytes.Equal(b[1:1+treeTokenRoot], root.Hash[:treeTokenRoot]) {
		return 0, bad
	}
	sent, n := binary.Uvarint(b[1+treeTokenRoot:])
	if n != len(b)-1-treeTokenRoot || sent > math.MaxInt64 {
		return 0, bad
	}
	return int64(sent), nil
}
