package main

import (
	"errors"
	"fmt"

	"afctl/rollout/tools/index"

	"github.com/spf13/cobra"
)

func newIndexCommand() *cobra.Command {
	var in, out string
	cmd := &cobra.Command{
		Use:   "index",
		Short: "Build the local index that Wikipedia_Search reads",
		Long: `index builds a search index (BM25 over SQLite's FTS5, one file) from documents: JSON Lines {"title","text","url"?} (id, _id and
metadata, as published corpora have them, are read over), or a MediaWiki XML dump (.xml, .xml.bz2; several that were joined are read one after
the other). A dump's redirects are further names of the documents that they lead to. The file is replaced when the index
is whole, not before; what is no regular file, and the file of the documents, is refused.`,
		Example: "  afctl index --in enwiki-latest-pages-articles.xml.bz2 --out wiki.db",
	}
	cmd.Flags().StringVar(&in, "in", "", "file of documents: .jsonl, .xml or .xml.bz2")
	cmd.Flags().StringVar(&out, "out", "", "file of the index")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if err := required(cmd, "in", "out"); err != nil {
			return err
		}
		if out == "-" {
			return usagef("--out: found -, expected the name of a file: an index cannot be a stream")
		}
		if err := checkFileOut("out", out, nil); err != nil { // the rest is index.Build's to refuse
			return err
		}
		src, err := index.OpenSource(cmd.Context(), in)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, src.Close()) }()
		bar := newProgress(cmd.ErrOrStderr(), "index", "documents", -1)
		defer bar.end()
		var last index.Progress
		err = index.Build(cmd.Context(), out, src, func(p index.Progress) {
			percent := ""
			if p.Total > 0 {
				percent = fmt.Sprintf(", %d %% of the file", 100*p.Done/p.Total)
			}
			bar.addf(p.Docs-last.Docs, "%d passages%s", p.Passages, percent)
			last = p
		})
		if err != nil {
			return err
		}
		bar.end()
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s (%s), %s; skipped: %d without text, %s to no document\n", out, counted(last.Docs, "document"),
			counted(last.Names, "further name"), counted(last.Passages, "passage"), last.Skipped, counted(last.Lost, "redirect"))
		return nil
	}
	return cmd
}
