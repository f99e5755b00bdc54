package client

import "github.com/bgrid-node/bgrid-node/store/digest"

// Digest names a blob; see store/digest.
type Digest = digest.Digest

// ParseDigest reads "hash/size", with the function's name before it where that is
// not SHA256. Its errors name the rule that the text breaks.
func ParseDigest(text string) (Digest, error) { return digest.Parse(text) }
