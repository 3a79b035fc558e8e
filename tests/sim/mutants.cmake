# sim_mutated: the simulator with every mutants/*.mut inside, one of them chosen at run time (mutants/apply.py, switch.h).
# Changed copies of the product's sources are compiled in place of the originals: their objects come before the libraries
# that hold the originals, which the linker then leaves alone. A changed header is put in front on the include path, and
# the sources that its mutant names are compiled anew. Included once, after the target sim; the test in `sim` that hunts
# the mutants (mutants_test.cc) runs the executable that lies beside it.
find_package(Python3 REQUIRED COMPONENTS Interpreter)

function(sim_mutants)
  file(GLOB mutants CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/sim/mutants/*.mut")
  set(apply "${CMAKE_CURRENT_SOURCE_DIR}/sim/mutants/apply.py")
  set(out "${CMAKE_BINARY_DIR}/tests/sim_mutants.d")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${mutants} "${apply}")
  execute_process(COMMAND "${Python3_EXECUTABLE}" -B "${apply}" --list ${mutants}
    OUTPUT_VARIABLE files OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE "\n" ";" files "${files}")
  execute_process(COMMAND "${Python3_EXECUTABLE}" -B "${apply}" "${CMAKE_SOURCE_DIR}" "${out}" ${mutants}
    COMMAND_ERROR_IS_FATAL ANY)

  set(objects "$<TARGET_OBJECTS:sim>")
  set(outputs "${out}/mutant_list.inc")
  set(sources "")
  set(originals "")
  foreach(file IN LISTS files)
    if(file MATCHES "^tests/sim/")
      get_filename_component(stem "${file}" NAME)
      string(REPLACE "." "\\." pattern "/${stem}.o")
      set(objects "$<FILTER:${objects},EXCLUDE,${pattern}>")
    endif()
    if(EXISTS "${out}/${file}")
      list(APPEND outputs "${out}/${file}")
      list(APPEND originals "${CMAKE_SOURCE_DIR}/${file}")
      list(APPEND sources "${out}/${file}")
    elseif(EXISTS "${CMAKE_SOURCE_DIR}/${file}")
      list(APPEND sources "${CMAKE_SOURCE_DIR}/${file}")
    endif()
  endforeach()
  add_custom_command(OUTPUT ${outputs}
    COMMAND "${Python3_EXECUTABLE}" -B "${apply}" "${CMAKE_SOURCE_DIR}" "${out}" ${mutants}
    DEPENDS ${mutants} "${apply}" ${originals}
    COMMENT "Mutants of the product" VERBATIM)
  add_executable(sim_mutated ${sources} ${objects})
  target_include_directories(sim_mutated BEFORE PRIVATE "${out}")
  target_link_libraries(sim_mutated PRIVATE house gossip proxy store agent_fences agent_primary GTest::gmock GTest::gtest)
  add_dependencies(sim sim_mutants_list)
endfunction()

if(TARGET sim)
  add_custom_target(sim_mutants_list DEPENDS "${CMAKE_BINARY_DIR}/tests/sim_mutants.d/mutant_list.inc")
  sim_mutants()
  set_source_files_properties("${CMAKE_CURRENT_LIST_DIR}/mutants_test.cc" TARGET_DIRECTORY sim PROPERTIES
    COMPILE_DEFINITIONS "OUTRIGGER_SIM_MUTANTS=\"${CMAKE_BINARY_DIR}/tests/sim_mutants.d/mutant_list.inc\""
    OBJECT_DEPENDS "${CMAKE_BINARY_DIR}/tests/sim_mutants.d/mutant_list.inc")
endif()
