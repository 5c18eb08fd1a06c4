package ledger

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// A where gathers conditions with their parameters.
type where struct {
	conds []string
	args  []any
}

// arg adds a parameter and returns its mark.
func (w *where) arg(v any) string {
	w.args = append(w.args, v)
	return fmt.Sprintf("$%d", len(w.args))
}

// and adds a condition in which every ? is a parameter.
func (w *where) and(cond string, args ...any) {
	for _, a := range args {
		cond = strings.Replace(cond, "?", w.arg(a), 1)
	}
	w.conds = append(w.conds, cond)
}

// String is the WHERE clause, empty without conditions.
func (w *where) String() string {
	if len(w.conds) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conds, " AND ")
}

// view runs do in one read transaction, so that all it reads is of one moment.
func (l *Ledger) view(ctx context.Context, do func(*sql.Tx) error) error {
	tx, err := l.read.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	return do(tx)
}

// numbers reads one column of row numbers.
func numbers(ctx context.Context, tx *sql.Tx, query string, args ...any) ([]int64, error) {
	var list []int64
	rows, err := tx.QueryContext(ctx, query, args...)
	err = each(rows, err, func(rows *sql.Rows) error {
		var n int64
		err := rows.Scan(&n)
		list = append(list, n)
		return err
	})
	return list, err
}

// few is how many parameters a statement gets at most.
const few = 500

// in runs query, which ends in IN, over all keys, some at a time.
func in[T any](ctx context.Context, tx *sql.Tx, query string, keys []T, scan func(*sql.Rows) error) error {
	for len(keys) > 0 {
		n := min(few, len(keys))
		args := make([]any, n)
		for i, k := range keys[:n] {
			args[i] = k
		}
		rows, err := tx.QueryContext(ctx, query+" ("+marks(n)+")", args...)
		if err := each(rows, err, scan); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}

// clamp returns limit, or fallback for 0, and most at most.
func clamp(limit, fallback, most int) int {
	if limit <= 0 {
		return fallback
	}
	return min(limit, most)
}

// word makes of what a person typed the one word it is, "" for several.
func word(typed string) string {
	typed = strings.TrimSpace(typed)
	if strings.ContainsAny(typed, " \t\n") {
		return ""
	}
	return typed
}
