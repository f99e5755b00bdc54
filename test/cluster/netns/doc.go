// Package netns gives a program a network of its own: hosts with addresses, each
// in a network namespace, on one bridge, and cuts between them. It needs root, and
// the programs ip, nft and nsenter.
//
// All of it lives in namespaces of a copy of the program (see Reenter) and is gone
// with that copy's processes, however they end: nothing of it shows on the
// machine, so that runs do not meet each other, and nothing is left to clean up.
package netns
