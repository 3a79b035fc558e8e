"""The house rules, held against this very tree."""

import unittest
from pathlib import Path

import picture
import shape
from tree import Tree

REPO = Path(__file__).resolve().parents[2]
EXCEPTIONS = Path(__file__).with_name("exceptions.txt")


class House(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tree = Tree(REPO)

    def assert_clean(self, problems):
        self.assertFalse(problems, "\n" + "\n".join(problems[:50]) + f"\n{len(problems)} in all")

    def test_includes_follow_the_picture(self):
        self.assert_clean(picture.check_picture(self.tree))

    def test_word_lists_include_nothing(self):
        self.assert_clean(picture.check_vocabulary(self.tree))

    def test_each_library_is_known_to_one_room(self):
        self.assert_clean(picture.check_foreign(self.tree))

    def test_cores_have_no_clock_thread_log_or_chance(self):
        self.assert_clean(shape.check_cores(self.tree))

    def test_tests_do_not_sleep(self):
        self.assert_clean(shape.check_test_sleeps(self.tree))

    def test_functions_and_files_are_short(self):
        self.assert_clean(shape.check_lengths(self.tree, shape.read_exceptions(EXCEPTIONS.read_text())))

    def test_headers_speak(self):
        self.assert_clean(shape.check_header_comments(self.tree))

    def test_headers_are_guarded(self):
        self.assert_clean(shape.check_header_guards(self.tree))

    def test_no_words_of_unfinished_work(self):
        self.assert_clean(shape.check_words(self.tree))

    def test_names_say_something(self):
        self.assert_clean(shape.check_names(self.tree))

    def test_nothing_of_one_machine(self):
        self.assert_clean(shape.check_machine(self.tree))

    def test_top_level_is_fixed(self):
        self.assert_clean(shape.check_top_level(self.tree))


if __name__ == "__main__":
    unittest.main()
