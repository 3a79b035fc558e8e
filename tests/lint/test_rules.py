"""Every rule seen failing once, on a small tree that breaks it, and passing on one that does not."""

import tempfile
import unittest
from pathlib import Path

import picture
import shape
from tree import Tree, code_only

GUARD = "#pragma once\n"


class Rules(unittest.TestCase):
    def tree(self, **files):
        """A tree of its own; in the keywords `__` stands for `/` and the last `_` for the dot."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name, text in files.items():
            path = Path(folder.name, *name.replace("__", "/").split("/"))
            path = path.with_name(".".join(path.name.rsplit("_", 1)))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return Tree(folder.name)

    def assert_finds(self, problems, *words):
        self.assertEqual(len(problems), 1, problems)
        for word in words:
            self.assertIn(word, problems[0])

    # --- includes ---------------------------------------------------------------------------------------------------
    def test_downward_and_own_room_includes_pass(self):
        tree = self.tree(agent__drivers__a_cc='#include "gossip/swim.h"\n#include "agent/drivers/b.h"\n',
                         agent__drivers__b_h=GUARD, gossip__swim_h=GUARD)
        self.assertEqual(picture.check_picture(tree), [])

    def test_upward_include(self):
        tree = self.tree(gossip__swim_cc='\n#include "agent/io/loop.h"\n', agent__io__loop_h=GUARD)
        self.assert_finds(picture.check_picture(tree), "gossip/swim.cc:2", "gossip must not include agent/io/loop.h")

    def test_sideways_include_between_libraries(self):
        tree = self.tree(proxy__a_cc='#include "store/store.h"\n', store__store_h=GUARD)
        self.assert_finds(picture.check_picture(tree), "proxy must not include store/store.h")

    def test_raft_and_kv_do_not_know_each_other(self):
        tree = self.tree(store__kv__lease_cc='#include "store/raft/raft.h"\n', store__raft__raft_h=GUARD)
        self.assert_finds(picture.check_picture(tree), "store/kv must not include store/raft/raft.h")

    def test_cli_speaks_to_the_api_only(self):
        tree = self.tree(agent__cli__kv_cc='#include "store/store.h"\n', store__store_h=GUARD)
        self.assert_finds(picture.check_picture(tree), "agent/cli must not include store/store.h")

    def test_main_may_include_what_it_wires(self):
        tree = self.tree(agent__main_cc='#include "agent/agent.h"\n#include "agent/cli/cli.h"\n', agent__agent_h=GUARD,
                         agent__cli__cli_h=GUARD)
        self.assertEqual(picture.check_picture(tree), [])

    def test_words_of_a_library_are_open_to_its_subfolders_only(self):
        tree = self.tree(proxy__http1__codec_h=GUARD + '#include "proxy/error.h"\n', proxy__error_h=GUARD,
                         gossip__a_h=GUARD + '#include "proxy/error.h"\n')
        self.assert_finds(picture.check_picture(tree), "gossip must not include proxy/error.h")

    def test_word_list_with_an_include(self):
        tree = self.tree(proxy__error_h='#include "proxy/proxy.h"\n', proxy__proxy_h=GUARD)
        self.assert_finds(picture.check_vocabulary(tree), "proxy/proxy.h")

    def test_include_not_from_the_root(self):
        tree = self.tree(store__raft__raft_cc='#include "raft.h"\n', store__raft__raft_h=GUARD)
        self.assert_finds(picture.check_picture(tree), "not a path from the root")

    def test_unknown_room(self):
        self.assert_finds(picture.check_picture(self.tree(agent__extra__a_cc="")), "'agent/extra' is not in the picture")

    def test_include_in_a_comment_does_not_count(self):
        tree = self.tree(gossip__swim_cc='// #include "agent/io/loop.h"\n/*\n#include <uv.h>\n*/\n')
        self.assertEqual(picture.check_picture(tree) + picture.check_foreign(tree), [])

    def test_foreign_libraries_outside_their_room(self):
        for include, where in (("llhttp.h", "proxy__proxy_cc"), ("rocksdb/db.h", "store__store_cc"),
                               ("uv.h", "agent__drivers__a_cc"), ("mbedtls/ssl.h", "agent__api__a_cc"),
                               ("psa/crypto.h", "gossip__a_cc"), ("toml++/toml.h", "agent__agent_cc"),
                               ("CLI/CLI.hpp", "agent__api__a_cc"), ("prometheus/registry.h", "agent__drivers__a_cc"),
                               ("spdlog/spdlog.h", "store__disk__a_cc"), ("nlohmann/json.hpp", "proxy__a_cc"),
                               ("curl/curl.h", "agent__io__a_cc"), ("msgpack.hpp", "proxy__b_cc")):
            with self.subTest(include):
                self.assert_finds(picture.check_foreign(self.tree(**{where: f"#include <{include}>\n"})), include)

    def test_foreign_libraries_at_home(self):
        tree = self.tree(proxy__http1__codec_cc="#include <llhttp.h>\n", store__disk__rocks_log_cc="#include <rocksdb/db.h>\n",
                         agent__io__loop_cc="#include <uv.h>\n#include <mbedtls/ssl.h>\n")
        self.assertEqual(picture.check_foreign(tree), [])

    # --- cores ------------------------------------------------------------------------------------------------------
    def test_sins_of_a_core(self):
        for sin in ("auto t = std::chrono::steady_clock::now();", "std::this_thread::sleep_for(x);", "std::thread t;",
                    "std::mutex m;", 'getenv("A");', 'spdlog::info("a");', "std::random_device d;", "std::mt19937_64 e;",
                    "std::cout << 1;", 'printf("a");', "clock_gettime(CLOCK_BOOTTIME, &t);", "#include <thread>",
                    "#include <uv.h>"):
            for place in ("gossip__a_cc", "proxy__http1__a_h", "store__raft__a_cc", "store__a_cc", "agent__primary_cc"):
                with self.subTest(f"{place}: {sin}"):
                    self.assertTrue(shape.check_cores(self.tree(**{place: f"void f() {{\n{sin}\n}}\n"})))

    def test_a_core_may_speak_of_clocks_in_comments_and_take_time_as_argument(self):
        tree = self.tree(gossip__a_cc="// std::chrono::steady_clock::now() is not for us\nvoid tick(TimePoint now) { host.now(); }\n",
                         agent__io__clock_cc="auto t = std::chrono::steady_clock::now();\n")
        self.assertEqual(shape.check_cores(tree), [])

    def test_test_that_sleeps(self):
        tree = self.tree(tests__unit__a_test_cc="TEST(A, B) { std::this_thread::sleep_for(1ms); }\n")
        self.assert_finds(shape.check_test_sleeps(tree), "tests/unit/a_test.cc:1")

    # --- lengths ----------------------------------------------------------------------------------------------------
    def test_long_function(self):
        body = "  x();\n" * 69
        for head in ("void f()", "int A::g(int a) const noexcept", "TEST(Suite, Name)", "auto h() -> std::vector<int>",
                     "A::A(int b) : b_(b), c_{1}", "template <class T>\nstatic T k(T t)"):
            with self.subTest(head):
                extra = head.count("\n")
                short = self.tree(gossip__a_cc=f"namespace n {{\n{head} {{\n{body[:-7 * (1 + extra)]}}}\n}}\n")
                self.assertEqual(shape.check_lengths(short, {}), [])
                long = self.tree(gossip__a_cc=f"namespace n {{\n{head} {{\n{body}}}\n}}\n")
                self.assert_finds(shape.check_lengths(long, {}), "gossip/a.cc", "lines, at most 70")

    def test_long_class_table_and_file_of_short_functions_pass(self):
        members = "  void f() {\n    x();\n  }\n" * 40
        table = "constexpr int kTable[] = {\n" + "  1,\n" * 100 + "};\n"
        tree = self.tree(gossip__a_h=GUARD + "class A {\n" + members + "};\n" + table)
        self.assertEqual(shape.check_lengths(tree, {}), [])

    def test_braces_in_literals_and_comments_do_not_count(self):
        text = 'void f() {\n  a = "{{{";\n  b = \'{\';\n  // {{{\n  c = R"x({{{)x";\n}\n' + "int d;\n" * 80
        self.assertEqual(shape.function_lengths(text), [("f", 1, 6)])
        self.assertEqual(code_only('x = 1\'000; // a\ny = "b";'), 'x = 1\'000;     \ny = " ";')

    def test_lambda_counts_as_part_of_its_function(self):
        text = "void f() {\n  auto g = [] {\n" + "    x();\n" * 80 + "  };\n}\n"
        self.assertEqual(shape.function_lengths(text), [("f", 1, 84)])

    def test_long_python_function(self):
        tree = self.tree(tests__a_py="def f():\n" + "    x()\n" * 70)
        self.assert_finds(shape.check_lengths(tree, {}), "tests/a.py:f", "71 lines")

    def test_long_file(self):
        self.assert_finds(shape.check_lengths(self.tree(gossip__a_cc="int a;\n" * 601), {}), "file of 601 lines")

    def test_exceptions_only_shrink(self):
        tree = self.tree(gossip__a_cc="int a;\n" * 650)
        self.assertEqual(shape.check_lengths(tree, shape.read_exceptions("# why\nfile 650 gossip/a.cc  # a table\n")), [])
        self.assert_finds(shape.check_lengths(tree, {("file", "gossip/a.cc"): 640}), "650 lines, at most 640")
        self.assert_finds(shape.check_lengths(tree, {("file", "gossip/a.cc"): 650, ("file", "gossip/b.cc"): 700}),
                          "gossip/b.cc", "no longer needs")

    # --- words and names --------------------------------------------------------------------------------------------
    def test_header_that_says_nothing(self):
        silent = GUARD + "int f();\n" * 40
        self.assert_finds(shape.check_header_comments(self.tree(gossip__a_h=silent)), "0 % comment")
        few = GUARD + "/// Answers a.\n" * 4 + "int f();\n" * 40
        self.assertEqual(shape.check_header_comments(self.tree(gossip__a_h=few)), [])
        user = '#include "gossip/a.h"\n'
        self.assert_finds(shape.check_header_comments(self.tree(gossip__a_h=few, agent__drivers__b_cc=user)), "at least 15")
        spoken = GUARD + "/// Answers a.\nint f();\n" * 40
        self.assertEqual(shape.check_header_comments(self.tree(gossip__a_h=spoken)), [])

    def test_header_without_guard(self):
        self.assert_finds(shape.check_header_guards(self.tree(gossip__a_h="int a;\n")), "no #pragma once")

    def test_unfinished_words(self):
        for word in shape.UNFINISHED:
            with self.subTest(word):
                self.assert_finds(shape.check_words(self.tree(gossip__a_cc=f"// {word}: later\n")), "gossip/a.cc:1")
        self.assertEqual(shape.check_words(self.tree(gossip__a_cc='reason = "Not Implemented";  // status 501\n')), [])

    def test_names_that_say_nothing(self):
        for name in ("common__a_cc", "gossip__string_utils_cc", "agent__io__loop_manager_h", "tests__helpers__a_py"):
            with self.subTest(name):
                self.assertTrue(shape.check_names(self.tree(**{name: GUARD})))
        tree = self.tree(gossip__a_h=GUARD + "class ConnectionManager {};\n")
        self.assert_finds(shape.check_names(tree), "ConnectionManager")
        self.assertEqual(shape.check_names(self.tree(gossip__a_h=GUARD + "class Commonwealth {};\n")), [])

    def test_machine_paths(self):
        for word in shape.MACHINE:
            with self.subTest(word):
                self.assert_finds(shape.check_machine(self.tree(deploy__a_md=word.replace("\\", "") + "x\n")), "deploy/a.md:1")

    def test_top_level(self):
        tree = self.tree(gossip__a_cc="", scripts__a_sh="")
        self.assert_finds(shape.check_top_level(tree), "scripts")


if __name__ == "__main__":
    unittest.main()
