package queue

import (
	"bufio"
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"io"
)

// transferred are the tables that Export writes, parents first, with the number
// of their columns. What is written is
//
//	schema version, applied index, applied time, next seq
//	of each table: for each row a 1 and its values; a 0
//
// all as varints but for the values: see appendValue.
var transferred = [...]struct {
	name    string
	columns int
}{{"jobs", 23}, {"operations", 14}, {"sessions", 9}}

// Kinds of values.
const (
	valueInteger = 'i' // varint
	valueText    = 't' // length as uvarint, bytes
	valueBlob    = 'b' // likewise
)

// Export writes everything that the store holds, as of one commit. Commits go on
// meanwhile.
func (s *Store) Export(ctx context.Context, to io.Writer) error {
	if err := s.export(ctx, to); err != nil {
		return fmt.Errorf("export queue: %w", s.readError(err))
	}
	return nil
}

func (s *Store) export(ctx context.Context, to io.Writer) error {
	tx, err := s.readers.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer tx.Rollback()
	m, err := loadMeta(ctx, tx)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(to)
	var head []byte
	for _, n := range [...]int64{int64(len(migrations)), int64(m.index), nanos(m.time), m.nextSeq} {
		head = binary.AppendVarint(head, n)
	}
	if _, err := w.Write(head); err != nil {
		return err
	}
	for _, t := range transferred {
		if err := exportTable(ctx, tx, t.name, w); err != nil {
			return fmt.Errorf("table %s: %w", t.name, err)
		}
	}
	return w.Flush()
}

func exportTable(ctx context.Context, tx *sql.Tx, table string, w *bufio.Writer) error {
	rows, err := tx.QueryContext(ctx, "SELECT * FROM "+table)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	var row []byte
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
		row = append(row[:0], 1)
		for _, v := range values {
			if row, err = appendValue(row, v); err != nil {
				return err
			}
		}
		if _, err := w.Write(row); err != nil {
			return err
		}
	}
	if err := rows.Err(); err != nil {
		return err
	}
	return w.WriteByte(0)
}

func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case int64:
		return binary.AppendVarint(append(b, valueInteger), v), nil
	case string:
		return append(binary.AppendUvarint(append(b, valueText), uint64(len(v))), v...), nil
	case []byte:
		return append(binary.AppendUvarint(append(b, valueBlob), uint64(len(v))), v...), nil
	}
	return nil, fmt.Errorf("%w: a value of type %T", ErrInconsistent, v)
}

// maxValue bounds one value of an export, in bytes: more is no export.
const maxValue = 256 << 20

func readValue(r *bufio.Reader) (any, error) {
	kind, err := r.ReadByte()
	if err != nil {
		return nil, err
	}
	switch kind {
	case valueInteger:
		return binary.ReadVarint(r)
	case valueText, valueBlob:
		n, err := binary.ReadUvarint(r)
		if err != nil {
			return nil, err
		}
		if n > maxValue {
			return nil, fmt.Errorf("%w: a value of %d bytes", ErrState, n)
		}
		b, err := io.ReadAll(io.LimitReader(r, int64(n))) // which grows with what is there
		if err != nil {
			return nil, err
		}
		if uint64(len(b)) < n {
			return nil, io.ErrUnexpectedEOF
		}
		if kind == valueText {
			return string(b), nil
		}
		return b, nil
	}
	return nil, fmt.Errorf("%w: a value of kind %q", ErrState, kind)
}
