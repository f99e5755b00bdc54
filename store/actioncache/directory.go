package actioncache

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/bgrid-node/bgrid-node/store/digest"
)

// The lists of a Directory, by their field numbers.
const (
	listFiles       protowire.Number = 1
	listDirectories protowire.Number = 2
	listSymlinks    protowire.Number = 3
)

// what names an element of a list in messages.
var what = [...]string{listFiles: "file", listDirectories: "directory", listSymlinks: "symlink"}

// Fields of the elements. The second is the digest, of a symlink the target.
const (
	fieldName   protowire.Number = 1
	fieldSecond protowire.Number = 2
)

// propertiesOf are the numbers of node_properties in each message; 0 is the
// Directory. A DirectoryNode has none.
var propertiesOf = [...]protowire.Number{0: 5, listFiles: 6, listSymlinks: 4}

// parseDirectory reads and checks a Directory (REAPI, Directory), straight from
// the wire: a message in memory would cost four times as much. The order of its
// lists is not enforced: it changes the digest, not the meaning, and clients in
// use do not all sort. The error says which rule is broken; the caller adds
// where.
func parseDirectory(fn digest.Function, data []byte) (*node, error) {
	p := directoryParser{fn: fn, node: &node{}}
	err := fields(data, func(num protowire.Number, value []byte) error {
		switch num {
		case listFiles, listDirectories, listSymlinks:
			return p.element(num, value)
		case propertiesOf[0]:
			return checkProperties(value)
		}
		return nil
	})
	if errors.Is(err, errWire) {
		return nil, fmt.Errorf("not a Directory: %w", err)
	}
	if err != nil {
		return nil, err
	}
	if name, twice := p.repeated(); twice {
		return nil, fmt.Errorf("the name %s is there twice", shorten(string(name)))
	}
	return p.node, nil
}

type directoryParser struct {
	fn    digest.Function
	node  *node
	names [listSymlinks + 1][][]byte
}

// element reads a FileNode, DirectoryNode or SymlinkNode.
func (p *directoryParser) element(list protowire.Number, data []byte) error {
	var name, target []byte
	var d wireDigest
	err := fields(data, func(num protowire.Number, value []byte) error {
		switch {
		case num == fieldName:
			name = value
			return checkUTF8(value)
		case num == fieldSecond && list == listSymlinks:
			target = value
			return checkUTF8(value)
		case num == fieldSecond:
			return d.merge(value)
		case list != listDirectories && num == propertiesOf[list]:
			return checkProperties(value)
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := p.add(list, name, target, d); err != nil {
		return fmt.Errorf("%s %s: %w", what[list], shorten(string(name)), err)
	}
	return nil
}

func (p *directoryParser) add(list protowire.Number, name, target []byte, wire wireDigest) error {
	if err := checkName(name); err != nil {
		return err
	}
	p.names[list] = append(p.names[list], name)
	if list == listSymlinks {
		if len(target) == 0 || bytes.IndexByte(target, 0) >= 0 {
			return fmt.Errorf("the target %s is empty or has a NUL byte in it", shorten(string(target)))
		}
		return nil
	}
	d, err := wire.digest(p.fn)
	if err != nil {
		return err
	}
	if list == listFiles {
		p.node.files = append(p.node.files, d)
	} else {
		p.node.dirs = append(p.node.dirs, child{name: string(name), digest: d})
	}
	return nil
}

// repeated returns a name that is there twice, among files, directories and
// symlinks together. Sorted lists, which are the rule, cost no memory.
func (p *directoryParser) repeated() ([]byte, bool) {
	lists := p.names[listFiles:]
	for _, names := range lists {
		if !slices.IsSortedFunc(names, bytes.Compare) {
			return repeatedIn(lists)
		}
		for i := 1; i < len(names); i++ {
			if bytes.Equal(names[i-1], names[i]) {
				return names[i], true
			}
		}
	}
	for i, a := range lists {
		for _, b := range lists[i+1:] {
			if name, ok := common(a, b); ok {
				return name, true
			}
		}
	}
	return nil, false
}

// common returns a name that is in both of two sorted lists.
func common(a, b [][]byte) ([]byte, bool) {
	for len(a) > 0 && len(b) > 0 {
		switch c := bytes.Compare(a[0], b[0]); {
		case c == 0:
			return a[0], true
		case c < 0:
			a = a[1:]
		default:
			b = b[1:]
		}
	}
	return nil, false
}

func repeatedIn(lists [][][]byte) ([]byte, bool) {
	seen := make(map[string]struct{})
	for _, names := range lists {
		for _, name := range names {
			if _, twice := seen[string(name)]; twice {
				return name, true
			}
			seen[string(name)] = struct{}{}
		}
	}
	return nil, false
}

// maxName bounds a name in bytes, as Linux does.
const maxName = 255

// checkName says what is wrong with the name of something in a directory.
func checkName(name []byte) error {
	switch {
	case len(name) == 0:
		return errors.New("a name must not be empty")
	case string(name) == "." || string(name) == "..":
		return errors.New("a name must not be . or ..")
	case bytes.ContainsAny(name, "/\x00"):
		return errors.New("a name must not have a slash or a NUL byte in it")
	case len(name) > maxName:
		return fmt.Errorf("a name must not be longer than %d bytes", maxName)
	}
	return nil
}

// shorten quotes what a client sent for an error message.
func shorten(s string) string {
	const most = 100
	if len(s) > most {
		return strconv.Quote(s[:most]) + "..."
	}
	return strconv.Quote(s)
}
