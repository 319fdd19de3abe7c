// Package zzglob stands in for the Buildkite agent's glob library, which not every module proxy
// serves. The agent needs it for artifact paths only, which no test here uses; this has the parts
// of its interface that the agent calls, on path/filepath.
package zzglob

import (
	"context"
	"io/fs"
	"path/filepath"
	"strings"
)

// Pattern is one path pattern: filepath.Match in each segment, and ** for any number of segments.
type Pattern struct{ segments []string }

// Option says how a tree is walked. There is nothing to choose here: directory links are not
// followed.
type Option struct{}

// Parse reads a pattern. It refuses what filepath.Match refuses.
func Parse(pattern string, _ ...Option) (*Pattern, error) {
	segments := strings.Split(filepath.ToSlash(pattern), "/")
	for _, segment := range segments {
		if _, err := filepath.Match(segment, ""); err != nil {
			return nil, err
		}
	}
	return &Pattern{segments}, nil
}

// Match says whether the whole path is of this pattern.
func (p *Pattern) Match(path string) bool {
	return match(p.segments, strings.Split(filepath.ToSlash(path), "/"))
}

// Glob calls found for each path of this pattern.
func (p *Pattern) Glob(found fs.WalkDirFunc, _ ...Option) error {
	return filepath.WalkDir(p.root(), func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !p.Match(path) {
			return nil
		}
		return found(path, entry, err)
	})
}

// MultiGlob is Glob for several patterns, one after the other.
func MultiGlob(ctx context.Context, patterns []*Pattern, found fs.WalkDirFunc, options ...Option) error {
	for _, pattern := range patterns {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := pattern.Glob(found, options...); err != nil {
			return err
		}
	}
	return nil
}

// TraverseSymlinks would follow links to directories.
func TraverseSymlinks(bool) Option { return Option{} }

// WalkIntermediateDirs would tell of directories on the way to a match.
func WalkIntermediateDirs(bool) Option { return Option{} }

// ExpandTilde would read a leading ~ as the home directory.
func ExpandTilde(bool) Option { return Option{} }

// root is the deepest directory that every match is below.
func (p *Pattern) root() string {
	fixed := 0
	for fixed < len(p.segments)-1 && !strings.ContainsAny(p.segments[fixed], `*?[\`) {
		fixed++
	}
	root := strings.Join(p.segments[:fixed], "/")
	switch {
	case fixed == 0:
		return "."
	case root == "":
		return "/"
	default:
		return root
	}
}

func match(pattern, path []string) bool {
	if len(pattern) == 0 {
		return len(path) == 0
	}
	if pattern[0] == "**" {
		return match(pattern[1:], path) || len(path) > 0 && match(pattern, path[1:])
	}
	if len(path) == 0 {
		return false
	}
	matched, err := filepath.Match(pattern[0], path[0])
	return err == nil && matched && match(pattern[1:], path[1:])
}
