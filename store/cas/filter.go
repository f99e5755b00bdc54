package cas

import (
	"encoding/binary"
	"hash/crc32"
	"math/bits"
)

// A split block Bloom filter: each key sets one bit in each of the eight 32-bit
// words of one block. With 12 bits a key about one absent key in 200 is let
// through to the records, which decide.
const filterBitsPerKey = 12

func filterBlocks(n int) int { return n*filterBitsPerKey/(8*filterBlock) + 1 }

func filterBlockOf(filter []byte, fp fingerprint) []byte {
	i, _ := bits.Mul64(fp.lo, uint64(len(filter)/filterBlock))
	return filter[i*filterBlock:][:filterBlock:filterBlock]
}

// filterBits are the bits of a fingerprint, 5 for each word. Fingerprints are
// parts of cryptographic hashes: nothing more needs mixing than the part that
// already chose the block.
func filterBits(fp fingerprint) uint64 { return fp.hi*0x9e3779b97f4a7c15 ^ fp.lo }

func filterAdd(filter []byte, fp fingerprint) {
	block, h := filterBlockOf(filter, fp), filterBits(fp)
	for w := range 8 {
		word := block[4*w:]
		binary.LittleEndian.PutUint32(word, binary.LittleEndian.Uint32(word)|1<<(h>>(5*w)&31))
	}
}

func filterHas(filter []byte, fp fingerprint) bool {
	block, h := filterBlockOf(filter, fp), filterBits(fp)
	for w := range 8 {
		if binary.LittleEndian.Uint32(block[4*w:])>>(h>>(5*w)&31)&1 == 0 {
			return false
		}
	}
	return true
}

// castagnoli returns the table that the processor's instruction serves; the
// standard library keeps it.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }
