package store

import (
	"path/filepath"
	"strings"
	"testing"

	"lazaret/internal/quarantine"
)

// The index of what lists show has the states that they ask for by default: a
// state that is added to one and not to the other costs a walk over all messages.
func TestShownIndex(t *testing.T) {
	s := openSQLite(t, filepath.Join(t.TempDir(), "q.db"), &memContents{})
	rows, err := s.read.Query("EXPLAIN QUERY PLAN SELECT m.mid FROM message m WHERE m.state IN (" + stateList(quarantine.Query{}.Wanted()) + ") ORDER BY m.mid DESC LIMIT 50")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	plan := ""
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		plan += step + "\n"
	}
	if !strings.Contains(plan, "INDEX message_shown") || strings.Contains(plan, "TEMP B-TREE") {
		t.Error(plan)
	}
}
