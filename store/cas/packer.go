package cas

import (
	"github.com/bgrid-node/bgrid-node/store/digest"
)

// packer lays blobs out in packs. It makes the headers, in one buffer; the data
// goes to the disk from where it lies.
type packer struct {
	pools   *buffers
	headers *[]byte
	parts   [][]byte // header, data, header, ... of all packs
	records []record
	stamps  []stamp // empty: all used now
	packs   []packed
	size    int64 // of the current pack
	from    int   // its first record
}

// newPacker makes room for n blobs.
func (s *Store) newPacker(n int) *packer {
	return &packer{
		pools: &s.buffers, headers: s.buffers.get(n * entryHeader),
		records: make([]record, 0, n), parts: make([][]byte, 0, 2*n),
	}
}

// free gives the headers back, when the packs are written.
func (p *packer) free() { p.pools.put(p.headers) }

// addUsed adds a blob that was used at another time than now. Either all of a
// packer's are added so or none.
func (p *packer) addUsed(d digest.Digest, data []byte, at stamp) {
	p.stamps = append(p.stamps, at)
	p.addBlob(d, data)
}

// addBlob adds a blob, in a new pack when the current one would get too long. The
// data must stay as it is until free.
func (p *packer) addBlob(d digest.Digest, data []byte) {
	length := int64(entryHeader + len(data))
	if p.size > 0 && p.size+length > packBytes {
		p.endPack()
	}
	begin := len(*p.headers)
	*p.headers = appendHeader(*p.headers, kindBlob, d, len(data))
	header := (*p.headers)[begin:]
	sealHeader(header, data)
	p.parts = append(p.parts, header, data)
	p.records = append(p.records, record{fp: fingerprintOf(d), size: d.Size, off: p.size, kind: kindBlob})
	p.size += length
}

func (p *packer) endPack() {
	one := packed{parts: p.parts[2*p.from:], size: p.size, records: p.records[p.from:]}
	if len(p.stamps) > 0 {
		one.stamps = p.stamps[p.from:]
	}
	p.packs = append(p.packs, one)
	p.size, p.from = 0, len(p.records)
}

// finish returns the packs, which are valid until free.
func (p *packer) finish() []packed {
	if p.size > 0 {
		p.endPack()
	}
	return p.packs
}
