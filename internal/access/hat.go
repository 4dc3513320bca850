package access

import (
	"net/netip"
	"strings"
)

// HAT is a host access table: mail flow policies and sender groups, read from
// top to bottom. It is made by ParseHAT or With and never changes after.
type HAT struct {
	policies []*Policy
	groups   []*Group
}

// Group is a sender group. The last of a table is ALL.
type Group struct {
	Name    string
	Entries []Entry
	Policy  string // without the dollar sign
	Comment string

	policy *Policy
	index  index
}

// All is the name of the last group, which matches everybody.
const All = "ALL"

// Policies gives the mail flow policies in the table's order.
func (h *HAT) Policies() []Policy {
	out := make([]Policy, len(h.policies))
	for i, p := range h.policies {
		out[i] = *p
	}
	return out
}

// Groups gives name, entries, policy and comment of each group in order.
func (h *HAT) Groups() []Group {
	out := make([]Group, len(h.groups))
	for i, g := range h.groups {
		out[i] = Group{Name: g.Name, Entries: append([]Entry(nil), g.Entries...), Policy: g.Policy, Comment: g.Comment}
	}
	return out
}

// Decide gives the first sender group that matches the client and its policy.
func (h *HAT) Decide(c Client) Decision {
	c.IP = c.IP.Unmap().WithZone("")
	for _, g := range h.groups {
		if g.policy.Action == Continue {
			continue
		}
		if g.Name == All {
			return Decision{Group: g.Name, Match: All, Policy: g.policy, Action: g.policy.Action}
		}
		if i := g.index.find(c); i >= 0 {
			return Decision{Group: g.Name, Match: g.Entries[i].Text, Policy: g.policy, Action: g.policy.Action}
		}
	}
	// Unreachable for a parsed table; a HAT that decides nothing refuses.
	return Decision{Group: All, Match: All, Policy: &Policy{Name: "BLOCKED"}, Action: Reject}
}

// String gives the table as text that ParseHAT reads to the same table.
func (h *HAT) String() string {
	var b strings.Builder
	for _, p := range h.policies {
		p.appendTo(&b)
	}
	for _, g := range h.groups {
		indent := "  "
		b.WriteString(g.Name)
		if g.Name != All {
			b.WriteString(":")
		}
		b.WriteString("\n")
		for _, e := range g.Entries {
			b.WriteString("  " + e.Text + parens(e.Comment) + "\n")
			indent = "    "
		}
		b.WriteString(indent + "$" + g.Policy + parens(g.Comment) + "\n")
	}
	return b.String()
}

// parens gives a comment as it stands behind an entry.
func parens(s string) string {
	if s == "" {
		return ""
	}
	return " (" + s + ")"
}

// CPQHAT is the table of the hidden CPQ listener, as in the seed: the peers
// may relay, everyone else is refused.
func CPQHAT(peers ...netip.Addr) *HAT {
	var b strings.Builder
	b.WriteString("$RELAYED\n  RELAY {}\n$BLOCKED\n  REJECT {}\nRELAYLIST:\n")
	for _, p := range peers {
		if p.IsValid() {
			b.WriteString("  " + p.Unmap().WithZone("").String() + "\n")
		}
	}
	b.WriteString("    $RELAYED (Only select hosts can relay from this box)\nALL\n  $BLOCKED (Everyone else)\n")
	h, err := ParseHAT(b.String())
	if err != nil {
		return &HAT{} // refuses everybody; a test holds that this cannot be
	}
	return h
}
