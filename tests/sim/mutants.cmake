# One executable per mutants/*.mut: the simulator with one source file changed on purpose. The changed copy is compiled
# in place of the original: its object comes before the library that holds the original, which the linker then leaves
# alone. A changed header is put in front on the include path, and every source of the program under test and of the
# simulator that might see it is compiled anew.
# The executables lie in sim_mutants/ beside `sim`, which runs them (mutants_test.cc); building sim builds them.
find_package(Python3 REQUIRED COMPONENTS Interpreter)
file(GLOB sim_mutants CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/sim/mutants/*.mut")
set(sim_mutant_names "")
set(sim_mutant_apply "${CMAKE_CURRENT_SOURCE_DIR}/sim/mutants/apply.py")

function(sim_mutant mutant)
  get_filename_component(name "${mutant}" NAME_WE)
  execute_process(COMMAND "${Python3_EXECUTABLE}" "${sim_mutant_apply}" --list "${mutant}"
    OUTPUT_VARIABLE file COMMAND_ERROR_IS_FATAL ANY)
  set(out "${CMAKE_CURRENT_BINARY_DIR}/sim_mutants/${name}.d")
  add_custom_command(OUTPUT "${out}/${file}"
    COMMAND "${Python3_EXECUTABLE}" "${sim_mutant_apply}" "${CMAKE_SOURCE_DIR}" "${mutant}" "${out}"
    DEPENDS "${mutant}" "${sim_mutant_apply}" "${CMAKE_SOURCE_DIR}/${file}"
    COMMENT "Mutant ${name}" VERBATIM)
  if(file MATCHES "\\.h$")
    file(GLOB simulator CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/sim/*.cc")
    string(REGEX REPLACE "\\.h$" ".cc" own "${CMAKE_SOURCE_DIR}/${file}")
    add_executable(sim_mutant_${name} "${out}/${file}" ${simulator} "${own}")
    target_include_directories(sim_mutant_${name} BEFORE PRIVATE "${out}")
  else()
    add_executable(sim_mutant_${name} "${out}/${file}" $<TARGET_OBJECTS:sim>)
  endif()
  target_link_libraries(sim_mutant_${name} PRIVATE house gossip store agent_primary GTest::gmock GTest::gtest)
  set_target_properties(sim_mutant_${name} PROPERTIES OUTPUT_NAME "${name}"
    RUNTIME_OUTPUT_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}/sim_mutants")
  add_dependencies(sim_mutants sim_mutant_${name})
endfunction()

if(TARGET sim)
  add_custom_target(sim_mutants)
  foreach(mutant IN LISTS sim_mutants)
    sim_mutant("${mutant}")
    get_filename_component(name "${mutant}" NAME_WE)
    list(APPEND sim_mutant_names "${name}")
  endforeach()
  list(JOIN sim_mutant_names "," sim_mutant_joined)
  set_source_files_properties("${CMAKE_CURRENT_SOURCE_DIR}/sim/mutants_test.cc" PROPERTIES
    COMPILE_DEFINITIONS "OUTRIGGER_SIM_MUTANTS=\"${sim_mutant_joined}\"")
endif()
