package admin

import (
	"context"
	"slices"
	"strings"

	"lazaret/internal/mail"
)

// complete says how the last word of a line may go on: names of commands, and
// behind them what the command itself knows. Only what the principal may see is
// offered.
func (l *Language) complete(ctx context.Context, p mail.Principal, line string) []string {
	words := strings.Fields(line)
	typed := ""
	if len(words) > 0 && !strings.HasSuffix(line, " ") {
		typed, words = words[len(words)-1], words[:len(words)-1]
	}
	if i := strings.LastIndexByte(line, '"'); i >= 0 && strings.Count(line, `"`)%2 == 1 { // inside a quoted word
		typed, words = line[i:], strings.Fields(line[:i])
	}
	return beginning(l.offers(ctx, p, words), typed)
}

// offers gives all words that may follow others.
func (l *Language) offers(ctx context.Context, p mail.Principal, words []string) (out []string) {
	if len(words) > 0 && strings.EqualFold(words[0], "help") {
		words = words[1:]
	}
	if len(words) > 0 {
		if c, rest, ok := l.find(words); ok && c.Offers != nil && slices.ContainsFunc(l.visible(p), func(v Command) bool { return v.Name == c.Name }) {
			return c.Offers(ctx, p, rest)
		}
	}
	for _, c := range l.visible(p) {
		names := strings.Fields(c.Name)
		if len(words) < len(names) && slices.EqualFunc(words, names[:len(words)], strings.EqualFold) {
			out = append(out, names[len(words)])
		}
	}
	return out
}

// beginning gives those that begin as typed, in order and each once.
func beginning(words []string, typed string) (out []string) {
	for _, w := range words {
		if strings.HasPrefix(w, typed) {
			out = append(out, w)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// conditionWords may stand in a search.
var conditionWords = []string{"quarantine", "sender", "sender-is", "sender-starts", "sender-ends", "sender-not", "recipient", "recipient-is", "recipient-starts",
	"recipient-ends", "recipient-not", "subject", "subject-is", "subject-starts", "subject-ends", "subject-not", "reason", "reason-not", "message-id", "gateway", "gateway-not",
	"mid", "esa_mid", "state", "state-not", "since", "until", "attachment", "attachment-ends", "attachment-not", "attachment-type", "attachment-min", "attachment-max", "body", "body-not",
	"order", "--limit", "--after", "--total", "--json"}

// searchOffers gives what may follow in a search: names behind quarantine,
// words behind state and order, else conditions.
func (q Quarantines) searchOffers(options ...string) func(context.Context, mail.Principal, []string) []string {
	return func(ctx context.Context, p mail.Principal, words []string) []string {
		if len(words) > 0 {
			switch last := strings.TrimPrefix(words[len(words)-1], "--"); last {
			case "quarantine", "from":
				return q.names(ctx, p)
			case "to":
				if slices.Contains(options, "--to") {
					return q.names(ctx, p)
				}
			case "state", "state-not":
				return []string{"held", "leaving", "releasing", "taken", "released", "binned", "deleted", "failed"}
			case "order":
				return orderWords()
			}
		}
		if len(options) == 0 || slices.Contains(words, "--all") {
			return conditionWords
		}
		return options
	}
}

// orderWords may stand behind order.
func orderWords() []string {
	out := []string{"newest", "oldest"}
	for _, c := range []string{"received", "sender", "recipient", "subject", "size", "quarantine", "exit", "gateway"} {
		out = append(out, c, c+"-desc")
	}
	return out
}

// names gives the quarantines that somebody may see, as they are typed.
func (q Quarantines) names(ctx context.Context, p mail.Principal) (out []string) {
	list, err := q.Service.Quarantines(ctx, p)
	if err != nil {
		return nil // a completion that does not come is no matter
	}
	for _, l := range list {
		name := l.Name
		if strings.ContainsAny(name, " \t\"';\\") {
			name = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(name) + `"`
		}
		if Plain(name) == name {
			out = append(out, name)
		}
	}
	return out
}

// configOffers gives what may follow quarantineconfig.
func (q Quarantines) configOffers(ctx context.Context, p mail.Principal, words []string) []string {
	switch {
	case len(words) == 0:
		return []string{"new", "edit", "delete", "rename", "retain", "rules"}
	case len(words) == 1 && slices.Contains([]string{"edit", "delete", "rename", "retain"}, words[0]):
		return q.names(ctx, p)
	case words[0] == "rules":
		return []string{"undo_release", "delete_rest", "pool_size", "keep_released", "search_text"}
	}
	return nil
}
