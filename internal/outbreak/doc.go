// Package outbreak is the rules of outbreak filters (reference 7.7): what a rule
// asks of a message, how a feed of rules is signed and checked, and which rule a
// message meets.
//
// It is no scanner: it reads no mail and knows no quarantine. It is given what a
// message is made of (Facts) and says which rule holds it (Verdict); the pipeline
// acts. docs/outbreak.md has the form of a feed.
//
// It promises:
//   - Rules come into force only with a signature by a pinned key, under the name
//     that was configured, and never with a serial below one that was in force: an
//     old feed cannot be played again.
//   - A feed that cannot be had, read or believed changes nothing: the last good one
//     stays in force, over a restart too.
//   - What a feed can cost is bounded: bytes, rules, and expressions, which are RE2.
package outbreak
